package org.pocketcrafter.core.latent

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.bundle.asList
import org.pocketcrafter.core.bundle.asObject
import org.pocketcrafter.core.photo.Planes
import org.pocketcrafter.core.photo.Resampling

/**
 * How a photo becomes the critic's picture.
 *
 * @property longestEdge the photo is scaled to this first, aspect kept; `null` where it is not.
 * @property side then it becomes a square of so many pixels.
 * @property mean subtracted from RGB in [0, 1].
 * @property deviation what is left is divided by it.
 */
class PictureSettings(
    val longestEdge: Int?, val side: Int, val resampling: Resampling, val mean: FloatArray, val deviation: FloatArray,
) {
    companion object {
        /** Reads what the manifest's schema has validated. */
        fun read(raw: Map<String, Any?>) = PictureSettings(
            raw["longest_edge"]?.let(::whole),
            whole(raw["side"]),
            Resampling.entries.first { it.key == raw["resampling"] },
            floats(raw["mean"]),
            floats(raw["deviation"]),
        )
    }
}

/**
 * Rotary position embeddings of the language model.
 *
 * @property frequencies radians for each step of a position.
 * @property scale what cosines and sines are multiplied by.
 * @property sections how many frequencies each axis of a position turns; empty where positions have one axis.
 * @property interleaved whether the axes take turns, as long as they have frequencies left.
 */
class RotarySettings(val frequencies: FloatArray, val scale: Float, val sections: List<Int>, val interleaved: Boolean) {
    companion object {
        /** Reads what the manifest's schema has validated. */
        fun read(raw: Map<String, Any?>) = RotarySettings(
            floats(raw["frequencies"]),
            float(raw["scale"]),
            asList(raw["sections"]).map(::whole),
            raw["interleaved"] as Boolean? ?: false,
        )
    }
}

/**
 * What the critic is asked, and when its answer ends.
 *
 * @property prompt ids of the whole prompt; the picture's tokens go where [pictureToken] stands.
 * @property stops ids that end an answer.
 * @property longestAnswer most ids of an answer.
 * @property rows tokens along the picture's side, where positions have several axes.
 */
class CriticSettings(
    val prompt: List<Int>,
    val pictureToken: Int,
    val stops: Set<Int>,
    val longestAnswer: Int,
    val picture: PictureSettings,
    val rotary: RotarySettings,
    val rows: Int?,
) {
    init {
        if (pictureToken !in prompt) throw BundleException("The critic's prompt has no place for a picture.")
    }

    companion object {
        /**
         * Reads what the manifest's schema has validated.
         *
         * @throws BundleException if there is no place for a picture.
         */
        fun read(raw: Map<String, Any?>) = CriticSettings(
            asList(raw["prompt"]).map(::whole),
            whole(raw["picture_token"]),
            asList(raw["stops"]).map(::whole).toSet(),
            whole(raw["longest_answer"]),
            PictureSettings.read(asObject(raw["picture"])),
            RotarySettings.read(asObject(raw["rotary"])),
            raw["rows"]?.let(::whole),
        )
    }
}

/**
 * One step: `latents ← keep·latents + move·prediction + noise·fresh noise`.
 *
 * @property timestep what the network is told, as [TimeSettings] has it.
 * @property scale factor on the latents that the network is given.
 */
class StepSettings(val timestep: Double, val scale: Float, val keep: Float, val move: Float, val noise: Float) {
    companion object {
        /** Reads what the manifest's schema has validated. */
        fun read(raw: Map<String, Any?>) = StepSettings(
            (raw["timestep"] as Number).toDouble(),
            float(raw["scale"] ?: 1.0),
            float(raw["keep"]),
            float(raw["move"]),
            float(raw["noise"] ?: 0.0),
        )
    }
}

/**
 * How a timestep is told to the network: the sines and cosines of it times each frequency, side by side.
 *
 * @property frequencies radians for each timestep.
 */
class TimeSettings(private val frequencies: FloatArray, private val cosinesFirst: Boolean) {
    /** What the network is told of a timestep. */
    fun features(timestep: Double): FloatArray {
        val angles = frequencies.map { (timestep.toFloat() * it).toDouble() }
        val cosines = angles.map { kotlin.math.cos(it).toFloat() }
        val sines = angles.map { kotlin.math.sin(it).toFloat() }
        return (if (cosinesFirst) cosines + sines else sines + cosines).toFloatArray()
    }

    companion object {
        /** Reads what the manifest's schema has validated. */
        fun read(raw: Map<String, Any?>) = TimeSettings(floats(raw["frequencies"]), raw["cosines_first"] as Boolean)
    }
}

/** `(x − shift)·scale`. */
class AffineSettings(private val scale: Float, private val shift: Float) {
    /** Applies it. */
    fun scaled(planes: Planes): Planes = planes.map { (it - shift) * scale }

    /** Takes it back. */
    fun unscaled(planes: Planes): Planes = planes.map { it / scale + shift }

    companion object {
        /** Reads what the manifest's schema has validated. */
        fun read(raw: Map<String, Any?>) = AffineSettings(float(raw["scale"] ?: 1.0), float(raw["shift"] ?: 0.0))
    }
}

/**
 * How the artist makes a picture.
 *
 * @property side pixels of the square that a photo becomes; aspect not kept.
 * @property latents from the autoencoder's latents to those that are denoised.
 * @property picture from the autoencoder's latents to those that show the photo.
 * @property startNoise factor on noise where the steps begin.
 * @property startPicture factor on the photo's own latents where the steps begin.
 * @property seed of the noise.
 * @property tiles most tiles in which it edits a photo's own pixels, where colors do not carry what it did.
 * @property bridgeTokens words of the answer that it reads after the prompt; all where `null`.
 */
class ArtistSettings(
    val side: Int,
    val latents: AffineSettings,
    val picture: AffineSettings,
    val startNoise: Float,
    val startPicture: Float,
    val steps: List<StepSettings>,
    val time: TimeSettings,
    val seed: Long,
    val tiles: Int,
    val bridgeTokens: Int?,
) {
    companion object {
        /** Reads what the manifest's schema has validated. */
        fun read(raw: Map<String, Any?>) = ArtistSettings(
            whole(raw["side"]),
            AffineSettings.read(asObject(raw["latents"])),
            AffineSettings.read(asObject(raw["picture"])),
            float(raw["start_noise"]),
            float(raw["start_picture"]),
            asList(raw["steps"]).map { StepSettings.read(asObject(it)) },
            TimeSettings.read(asObject(raw["time"])),
            (raw["seed"] as Number).toLong(),
            whole(raw["tiles"] ?: 0L),
            raw["bridge_tokens"]?.let(::whole),
        )
    }
}

/** What the manifest of a latent bundle holds beside its components: a critic, an artist, or both. */
class LatentSettings(val critic: CriticSettings?, val artist: ArtistSettings?) {
    init {
        if (critic == null && artist == null) throw BundleException("The bundle has neither a critic nor an artist.")
    }

    companion object {
        /**
         * Reads what the manifest's schema has validated.
         *
         * @throws BundleException if it says nothing of a critic, or of an artist, or shows the critic no picture.
         */
        fun read(raw: Map<String, Any?>) = LatentSettings(
            raw["critic"]?.let { CriticSettings.read(asObject(it)) },
            raw["artist"]?.let { ArtistSettings.read(asObject(it)) },
        )
    }
}

private fun whole(value: Any?): Int = (value as Number).toDouble().let {
    if (it > Int.MAX_VALUE || it < Int.MIN_VALUE) throw BundleException("The number $value is too large.")
    it.toInt()
}

private fun float(value: Any?): Float = (value as Number).toFloat()

private fun floats(value: Any?): FloatArray = asList(value).map(::float).toFloatArray()
