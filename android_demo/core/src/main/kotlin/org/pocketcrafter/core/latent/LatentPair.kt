package org.pocketcrafter.core.latent

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.Enhanced
import org.pocketcrafter.core.Enhancer
import org.pocketcrafter.core.Framing
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.Stage
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.generated.Constants.CARRIED_DB
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.photo.Planes

/**
 * Critiques and enhances photos with the networks of one `latent` bundle; opens each network when it is first needed.
 *
 * Not to be shared between threads.
 *
 * @param runners where the networks come from.
 * @param bundle where the settings, the word vectors and the vocabulary come from.
 * @throws BundleException if the bundle is of another family.
 */
class LatentPair(private val runners: RunnerSource, private val bundle: Bundle) : Enhancer {
    private val settings = bundle.manifest.latent
        ?: throw BundleException("The bundle is of the family `${bundle.manifest.family}`, not `latent`.")
    private val opened = mutableMapOf<String, Runner>()
    private val words by lazy { bundle.answerWords() }
    private val table by lazy { bundle.wordTable() }

    /** What the critic says of the last photo, as far as it has come. */
    private var said: Pair<Planes, Conversation>? = null

    /**
     * Lets the critic answer; for the photo that was enhanced last, it goes on with the answer that it had begun.
     *
     * @param progress told how many words of at most how many are written; what it throws ends the work between two.
     * @throws ConfigException if there is no critic.
     * @throws RunnerException if a network fails.
     */
    fun critique(pixels: Pixels, progress: (Int, Int) -> Unit = { _, _ -> }): LatentCritique =
        LatentCritique.of(answer(pixels, progress).ids, critic().stops, words)

    /** The critic's answer as ids, with the hidden states of all that was read; otherwise as [critique]. */
    fun answer(pixels: Pixels, progress: (Int, Int) -> Unit = { _, _ -> }): Answer = conversation(pixels).finish(progress)

    override fun warm() {
        val settings = settings.artist
        if (this.settings.critic != null) {
            conversation(Enhancer.GRAY)
        } else if (settings != null) {
            artist().encoded(Pictures.artists(Enhancer.GRAY, settings.side))
        }
    }

    /**
     * Lets the artist edit a photo as it understands the critic, and carries that to the photo's own resolution.
     *
     * What is carried over is what the edit changed of the decoded photo, so that an edit of nothing changes nothing: as
     * a grid of color transforms. Where that misses much, the artist edits the photo's own pixels in tiles, if the
     * bundle allows as many; otherwise a note says what is missing.
     */
    override fun enhance(
        pixels: Pixels, strength: Double, asked: EditPlan?, framing: Framing, progress: (Stage, Int, Int) -> Unit,
    ): Enhanced {
        Enhancer.checkStrength(strength)
        if (asked != null || framing != Framing.AS_IS) throw ConfigException("The artist of this bundle takes no plan, and does not level or crop.")
        val artist = artist()
        val steps = artist.settings.steps.size
        val hidden = if (artist.readsCritic) states(pixels, artist.settings.bridgeTokens, progress) else null
        val change = artist.change(Pictures.artists(pixels, artist.settings.side), hidden) { done, all -> progress(Stage.STEPS, done, all) }
        val carried = Carried.of(pixels, change, strength)
        if (carried.errorDb >= CARRIED_DB) return edited(carried.pixels, carried.notes)
        val native = NativeEdit(artist)
        val count = native.tiles(pixels)
        if (count !in 1..artist.settings.tiles) {
            return edited(carried.pixels, carried.notes + missing(count, artist.settings.tiles))
        }
        val made = native.edited(pixels, change, hidden, strength) { done, all -> progress(Stage.STEPS, steps + done, steps + all) }
        return edited(made, listOf("edited in $count tiles at the photo's own size: colors alone would not carry the edit."))
    }

    override fun close() {
        said = null
        opened.values.forEach { it.close() }
        opened.clear()
    }

    private fun edited(pixels: Pixels, notes: List<String>) = Enhanced(pixels, null, null, notes)

    private fun states(pixels: Pixels, words: Int?, progress: (Stage, Int, Int) -> Unit): FloatArray {
        val longest = critic().longestAnswer
        return conversation(pixels).states(words) { done, _ -> progress(Stage.WORDS, done, minOf(longest, words ?: longest)) }
    }

    private fun conversation(pixels: Pixels): Conversation {
        val picture = Pictures.critics(pixels, critic().picture)
        said?.let { (seen, conversation) -> if (seen.values.contentEquals(picture.values)) return conversation }
        val component = bundle.manifest.component(LANGUAGE)
        val critic = LatentCritic(runner(VISION), runner(LANGUAGE), component, table, critic())
        return critic.begin(picture).also { said = picture to it }
    }

    private fun artist(): LatentArtist {
        val settings = settings.artist ?: throw ConfigException("This bundle has a critic alone, which enhances nothing.")
        val bridge = if (bundle.has(BRIDGE)) network(BRIDGE) else null
        return LatentArtist(network(ENCODE), network(DENOISE), network(DECODE), bridge, settings)
    }

    private fun critic(): CriticSettings =
        settings.critic ?: throw ConfigException("This bundle has an artist alone, which says nothing of photos.")

    private fun network(name: String) = Network(runner(name), bundle.manifest.component(name))

    private fun runner(component: String): Runner = opened.getOrPut(component) { runners.open(component) }

    private fun missing(count: Int, allowed: Int): String {
        val lost = "new content and removed noise are not carried over"
        if (count == 0) return "$lost: the photo has no more pixels than the artist's picture, but another shape."
        return "$lost: they would take $count tiles at the photo's own size, and the bundle allows $allowed."
    }

    private companion object {
        const val VISION = "vision"
        const val LANGUAGE = "language"
        const val BRIDGE = "bridge"
        const val ENCODE = "encode"
        const val DENOISE = "denoise"
        const val DECODE = "decode"
    }
}
