package org.pocketcrafter.core

import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants.TILE_PX
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

/** What became of a photo: [pixels] are the very input where there was nothing to do. */
data class Enhanced(val pixels: Pixels, val plan: EditPlan, val critique: Critique)

/** A photo's diagnosis in numbers and in words. */
data class Told(val critique: Critique, val written: Written)

/**
 * Critiques and enhances photos with the networks of one `pocket` bundle; opens each network when it is first needed.
 *
 * Not to be shared between threads. Levelling and cropping are not carried out.
 *
 * @param runners where the networks come from.
 * @param gate the gate that they were tuned with.
 * @param vocabulary the decoder's; `null` where there is no prose.
 */
class PhotoPair(
    private val runners: RunnerSource,
    private val gate: GateSettings,
    private val vocabulary: Vocabulary?,
) : AutoCloseable {
    private val opened = mutableMapOf<String, Runner>()

    /**
     * Diagnoses a photo.
     *
     * @throws RunnerException if a network fails.
     */
    fun critique(pixels: Pixels): Critique = seen(pixels).critique

    /**
     * Diagnoses a photo and finds its tone grid.
     *
     * @throws RunnerException if a network fails.
     */
    fun look(pixels: Pixels): Look = seen(pixels).let { Look(it.critique, grid(it)) }

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
        return Writer(runner(DECODER), words).write(seen.tokens, stated, mode, cancelled)?.let { Told(seen.critique, it) }
    }

    /**
     * Enhances a photo at its own resolution.
     *
     * @param strength factor on the plan and on the tone grid's departure from identity, in [0, 2].
     * @param asked the plan to carry out in place of the critic's.
     * @param progress called with tiles done and tiles in all during restoration; it may throw to stop.
     * @throws ConfigException if the strength is out of range.
     * @throws RunnerException if a network fails.
     */
    fun enhance(
        pixels: Pixels,
        strength: Double = 1.0,
        asked: EditPlan? = null,
        progress: (Int, Int) -> Unit = { _, _ -> },
    ): Enhanced {
        if (strength !in 0.0..MAX_STRENGTH) throw ConfigException("The strength is from 0 to $MAX_STRENGTH, not $strength.")
        val seen = seen(pixels)
        val plan = (asked ?: seen.critique.plan).scaled(strength)
        val restored = if (plan.restores) restored(pixels, plan, progress) else pixels
        val toned = if (plan.changesTones) Developer.develop(restored, plan, grid(seen).blended(strength)) else restored
        return Enhanced(toned, plan, seen.critique)
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

    private fun restored(pixels: Pixels, plan: EditPlan, progress: (Int, Int) -> Unit): Pixels {
        val amounts = Attribute.entries.filter { it.restores }.map { plan[it].toFloat() }.toFloatArray()
        val network = runner(RESTORE)
        return Tiles(TILE_PX).map(pixels, progress) { tile ->
            network.run(mapOf("tile" to tile, "amounts" to amounts)).getValue("restored")
        }
    }

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
        const val MAX_STRENGTH = 2.0
        const val CRITIC = "critic"
        const val JUDGE = "judge"
        const val TONE = "tone"
        const val RESTORE = "restore"
        const val DECODER = "decoder"
    }
}
