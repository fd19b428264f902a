package org.pocketcrafter.core.latent

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.bundle.Component
import org.pocketcrafter.core.photo.Planes

/** An opened network and its contract. */
class Network(private val runner: Runner, private val component: Component) {
    /** Side of the latents that it takes or gives. */
    val latents: Int get() = (component.inputs + component.outputs).find { it.name == "latents" }?.shape?.last()
        ?: throw BundleException("`${component.name}` neither takes nor gives latents.")

    /** Whether it has an input of this name. */
    fun takes(name: String): Boolean = component.inputs.any { it.name == name }

    /** The shape of an input. */
    fun shape(name: String): List<Int> = component.input(name).shape

    /**
     * Runs once, on those of the arrays that it takes.
     *
     * @throws RunnerException if it fails.
     */
    fun run(given: Map<String, FloatArray>): Map<String, FloatArray> =
        runner.run(given.filterKeys(::takes))

    /** Runs once, and returns its one output as planes. */
    fun planes(given: Map<String, FloatArray>): Planes {
        val output = component.outputs.first()
        val (_, channels, height, width) = output.shape.takeIf { it.size == 4 }
            ?: throw BundleException("`${component.name}` gives no picture or latents.")
        return Planes(channels, height, width, run(given).getValue(output.name))
    }
}

/**
 * What an edit changes: the same picture twice, both by the decoder, so that their difference is the edit alone.
 *
 * @property before what the autoencoder makes of the picture itself, in [0, 1].
 * @property after the edited picture, likewise.
 */
class Change(val before: Planes, val after: Planes)

/**
 * Edits pictures.
 *
 * @param bridge what makes conditions of hidden states; `null` where `denoise` reads these as they are, or none.
 * @property settings steps, noise and scales.
 */
class LatentArtist(
    private val encode: Network,
    private val denoise: Network,
    private val decode: Network,
    private val bridge: Network?,
    val settings: ArtistSettings,
) {
    /** Pixels along the side of a latent. */
    val factor: Int = encode.shape("image").last() / encode.latents

    /** Whether its conditions come of hidden states; they are fixed otherwise. */
    val readsCritic: Boolean get() = denoise.takes("text")

    /**
     * Edits a picture, and decodes its own latents too; the same picture and hidden states give the same change.
     *
     * A picture larger than the artist's own goes through each network in tiles, which are blended after every step:
     * all of them work on one picture.
     *
     * @param picture in [0, 1]: neither side below the artist's, both whole latents.
     * @param hidden the critic's, one position after the other; an artist whose conditions are fixed reads none.
     * @param progress told how many runs of `denoise` of how many are done; what it throws ends the work between two.
     * @throws RunnerException if a network fails, or a picture is not finite.
     * @throws BundleException if the artist reads hidden states, and there are none.
     */
    fun change(picture: Planes, hidden: FloatArray?, progress: (Int, Int) -> Unit = { _, _ -> }): Change {
        val conditions = conditions(hidden)
        val encoded = encoded(picture)
        val after = decoded(edited(picture, encoded, conditions, progress), picture)
        return Change(decoded(encoded, picture), after)
    }

    /** The autoencoder's latents of a picture in [0, 1]. */
    fun encoded(picture: Planes): Planes = through(encode, picture, mapOf("image" to picture.map { it * 2 - 1 }))

    /** The autoencoder's latents of the edit. */
    private fun edited(picture: Planes, encoded: Planes, conditions: Map<String, FloatArray>, progress: (Int, Int) -> Unit): Planes {
        val shown = mapOf("picture" to settings.picture.scaled(encoded), "photo" to picture).filterKeys(denoise::takes)
        val tiles = tiles(denoise, picture)
        val runs = tiles.places.size * settings.steps.size
        var done = 0
        val noise = Noise(settings.seed)
        val drawn = noise.draw(encoded.values.size)
        val noisy = Planes(encoded.channels, encoded.height, encoded.width, FloatArray(drawn.size) { drawn[it] * settings.startNoise })
        val start = noisy.with(settings.latents.scaled(encoded)) { fresh, own -> fresh + own * settings.startPicture }
        val made = denoised(start, settings.steps, noise) { latents, timestep ->
            val fixed = conditions + ("time" to settings.time.features(timestep))
            tiles.map(shown + ("latents" to latents), { progress(++done, runs) }) { given ->
                denoise.planes(fixed + given.mapValues { it.value.values })
            }
        }
        return settings.latents.unscaled(made)
    }

    private fun decoded(latents: Planes, picture: Planes): Planes {
        val out = through(decode, picture, mapOf("latents" to latents))
        if (!out.values.all { it.isFinite() }) throw RunnerException("The artist gave a picture that is not finite.")
        return out.map { (it / 2 + 0.5f).coerceIn(0f, 1f) }
    }

    private fun tiles(network: Network, picture: Planes) =
        LatentTiles(network.latents, picture.height / factor, picture.width / factor)

    private fun through(network: Network, picture: Planes, given: Map<String, Planes>): Planes =
        tiles(network, picture).map(given) { tile -> network.planes(tile.mapValues { it.value.values }) }

    /** What `denoise` reads of hidden states: padded to its length, and which positions are none. */
    private fun conditions(hidden: FloatArray?): Map<String, FloatArray> {
        if (!readsCritic) return emptyMap()
        if (hidden == null) throw BundleException("The artist reads a critic's hidden states, and the bundle has no critic.")
        val length = denoise.shape("text")[1]
        val width = (bridge?.shape("hidden") ?: denoise.shape("text")).last()
        val count = minOf(hidden.size / width, length)
        val padded = hidden.copyOf(count * width).copyOf(length * width)
        val mask = FloatArray(length) { if (it < count) 1f else 0f }
        val made = bridge?.run(mapOf("hidden" to padded, "mask" to mask)).orEmpty()
        return mapOf("text" to padded, "mask" to mask) + made
    }
}
