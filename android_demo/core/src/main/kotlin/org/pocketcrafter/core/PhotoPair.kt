package org.pocketcrafter.core

import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants.TILE_PX
import org.pocketcrafter.core.geometry.Composed
import org.pocketcrafter.core.geometry.Composer
import org.pocketcrafter.core.photo.Developer
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.photo.Renderer
import org.pocketcrafter.core.photo.Tiles
import org.pocketcrafter.core.photo.ToneGrid
import org.pocketcrafter.core.photo.Views
import org.pocketcrafter.core.prose.Mode
import org.pocketcrafter.core.prose.Stated
import org.pocketcrafter.core.prose.Vocabulary
import org.pocketcrafter.core.prose.Writer
import org.pocketcrafter.core.prose.Written

/**
 * What tones need of a photo, found once: with it every slider is arithmetic, as in
 * `Developer.develop(pixels, plan, look.grid.blended(strength))`.
 */
class Look(val critique: Critique, val grid: ToneGrid)

/** A photo's diagnosis in numbers and in words. */
data class Told(val critique: Critique, val written: Written)

/**
 * Critiques and enhances photos with the networks of one `pocket` bundle; opens each network when it is first needed.
 *
 * Not to be shared between threads.
 *
 * @param runners where the networks come from.
 * @param gate the gate that they were tuned with.
 * @param vocabulary the decoder's; `null` where there is no prose.
 * @param composes whether the bundle has a composition network, which levels and crops.
 */
class PhotoPair(
    private val runners: RunnerSource,
    private val gate: GateSettings,
    private val vocabulary: Vocabulary?,
    private val composes: Boolean = false,
) : Enhancer {
    private val opened = mutableMapOf<String, Runner>()

    /**
     * Diagnoses a photo; its horizon too, where the bundle has the composition network.
     *
     * @throws RunnerException if a network fails.
     */
    fun critique(pixels: Pixels): Critique = diagnosed(pixels, seen(pixels))

    /**
     * Diagnoses a photo as [critique] does, and finds its tone grid.
     *
     * @throws RunnerException if a network fails.
     */
    fun look(pixels: Pixels): Look = seen(pixels).let { Look(diagnosed(pixels, it), grid(it)) }

    /**
     * Diagnoses a photo and puts it into words, which agree with the gated plan.
     *
     * @param cancelled asked before every step of the decoder.
     * @return `null` where it was cancelled.
     * @throws ConfigException if the bundle has no decoder.
     * @throws RunnerException if a network fails.
     */
    fun prose(pixels: Pixels, mode: Mode = Mode.FULL, cancelled: () -> Boolean = { false }): Told? {
        val words = vocabulary ?: throw ConfigException("This bundle has no decoder, which writes the prose.")
        val seen = seen(pixels)
        val stated = Stated.of(seen.critique.plan, gate, seen.critique.score)
        return Writer(runner(DECODER), words).write(seen.tokens, stated, mode, cancelled)?.let { Told(diagnosed(pixels, seen), it) }
    }

    override fun warm() {
        seen(Enhancer.GRAY)
    }

    override fun enhance(
        pixels: Pixels, strength: Double, asked: EditPlan?, framing: Framing, progress: (Stage, Int, Int) -> Unit,
    ): Enhanced {
        Enhancer.checkStrength(strength)
        if (framing != Framing.AS_IS && !composes) throw ConfigException("This bundle has no composition network, which levelling needs.")
        val seen = seen(pixels)
        val plan = (asked ?: seen.critique.plan).scaled(strength)
        val restored = if (plan.restores) restored(pixels, plan, progress) else pixels
        val toned = if (plan.changesTones) Developer.develop(restored, plan, grid(seen).blended(strength)) else restored
        if (framing == Framing.AS_IS) return Enhanced(toned, plan, seen.critique)
        val composed = composed(pixels, framing, progress)
        return Enhanced(composed?.framed(toned) ?: toned, plan, seen.critique.withTilt(composed?.tilt), composed = composed)
    }

    override fun close() {
        opened.values.forEach { it.close() }
        opened.clear()
    }

    /** What the critic made of a photo, shape of [tokens] `(TOKENS, TOKEN_DIM)`, and the view that it saw. */
    private class Seen(val critique: Critique, val tokens: FloatArray, val view: FloatArray)

    private fun seen(pixels: Pixels): Seen {
        val view = Views.global(pixels)
        val out = runner(CRITIC).run(mapOf("view" to view, "crops" to Views.crops(pixels)))
        val plan = out.getValue("plan")
        val tokens = out.getValue("tokens")
        val chosen = gate.judge?.choose(plan, view, tokens) { runner(JUDGE) }
        val critique = Critique.of(
            plan, out.getValue("presence"), out.getValue("confidence"), out.getValue("score")[0], gate, chosen?.tones,
        )
        return Seen(critique, tokens, view)
    }

    /** The critique with what the composition network makes of the horizon, where there is one. */
    private fun diagnosed(pixels: Pixels, seen: Seen): Critique =
        if (composes) seen.critique.withTilt(Composer(runner(COMPOSITION)).tilt(pixels)) else seen.critique

    private fun restored(pixels: Pixels, plan: EditPlan, progress: (Stage, Int, Int) -> Unit): Pixels {
        val amounts = Attribute.entries.filter { it.restores }.map { plan[it].toFloat() }.toFloatArray()
        val network = runner(RESTORE)
        return Tiles(TILE_PX).map(pixels, { done, all -> progress(Stage.TILES, done, all) }) { tile ->
            network.run(mapOf("tile" to tile, "amounts" to amounts)).getValue("restored")
        }
    }

    private fun composed(pixels: Pixels, framing: Framing, progress: (Stage, Int, Int) -> Unit): Composed? =
        Composer(runner(COMPOSITION)).compose(pixels, framing == Framing.LEVEL_AND_CROP) { done, all -> progress(Stage.BOXES, done, all) }

    private fun grid(seen: Seen): ToneGrid {
        // The critic's full plan goes in, as in training; strength then scales what comes out.
        val plan = seen.critique.plan
        val inputs = mapOf(
            "view" to seen.view,
            "rendered" to Renderer(plan).renderPlanes(seen.view),
            "plan" to plan.vector(),
            "tokens" to seen.tokens,
        )
        return ToneGrid(runner(TONE).run(inputs).getValue("grid"))
    }

    private fun runner(component: String): Runner = opened.getOrPut(component) { runners.open(component) }

    private companion object {
        const val CRITIC = "critic"
        const val JUDGE = "judge"
        const val COMPOSITION = "composition"
        const val TONE = "tone"
        const val RESTORE = "restore"
        const val DECODER = "decoder"
    }
}
