package org.pocketcrafter.core

import org.pocketcrafter.core.bundle.asList
import org.pocketcrafter.core.bundle.asObject
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants.PREVIEW_PX
import org.pocketcrafter.core.generated.Constants.VIEW_PX
import org.pocketcrafter.core.photo.Renderer
import kotlin.math.abs

/**
 * A part of the critic's predicted plan.
 *
 * @property attributes what it keeps.
 * @property deadZone smaller predicted amounts are dropped; in vector units.
 * @property strength the factor on what is left.
 */
data class Proposal(val attributes: Set<Attribute>, val deadZone: Double, val strength: Double)

/** A proposal that is carried out: nothing but [tones], and the quantiles of its [gain] in CIEDE2000, lowest first. */
data class Chosen(val tones: EditPlan, val gain: List<Float>)

/**
 * What a bundle's judge chooses from, and how sure it must be.
 *
 * @property proposals what the judge was trained to look at, in order.
 * @property bar what the low quantile of a gain must exceed, in CIEDE2000.
 * @property worth what its median must exceed.
 */
data class JudgeSettings(val proposals: List<Proposal>, val bar: Double, val worth: Double) {
    /** The tones that a proposal can change. */
    val proposed: Set<Attribute> = proposals.flatMap { it.attributes }.filterNot { it.restores }.toSet()

    /**
     * Returns the proposals that a predicted plan comes to, one vector each; some may be equal, or change nothing.
     *
     * @param plan as the critic predicts it, in vector units; what is not finite counts as no change.
     */
    fun propose(plan: FloatArray): List<FloatArray> = proposals.map { proposal ->
        val part = FloatArray(plan.size) { n ->
            val attribute = Attribute.entries[n]
            val kept = !attribute.restores && attribute in proposal.attributes && plan[n].isFinite() &&
                abs(plan[n]) >= proposal.deadZone
            if (kept) (plan[n] * proposal.strength).toFloat() else 0f
        }
        EditPlan.ofVector(part).vector()
    }

    /**
     * Lets a judge choose among a predicted plan's proposals.
     *
     * @param plan as the critic predicts it, in vector units.
     * @param view what the critic saw, shape `(3, VIEW_PX, VIEW_PX)`.
     * @param tokens the critic's plan tokens.
     * @param judge opens the judge; called where there is something to judge.
     * @return `null` where the photo is better left as it is.
     * @throws RunnerException if the judge fails.
     */
    fun choose(plan: FloatArray, view: FloatArray, tokens: FloatArray, judge: () -> Runner): Chosen? {
        val plans = propose(plan)
        if (plans.all { proposal -> proposal.all { it == 0f } }) return null
        val gains = judge().run(inputs(preview(view), plans, tokens)).getValue("gain")
        val place = best(gains, bar, worth)
        if (place == null || plans[place].all { it == 0f }) return null
        return Chosen(EditPlan.ofVector(plans[place]), gains.slice(place * QUANTILES until (place + 1) * QUANTILES))
    }

    companion object {
        private const val QUANTILES = 3

        /** What a judge reads: every proposal beside the photo, whose [preview] is given. */
        fun inputs(preview: FloatArray, plans: List<FloatArray>, tokens: FloatArray): Map<String, FloatArray> = mapOf(
            "view" to joined(plans.map { preview }),
            "rendered" to joined(plans.map { Renderer(EditPlan.ofVector(it)).renderPlanes(preview) }),
            "plan" to joined(plans),
            "tokens" to joined(plans.map { tokens }),
        )

        /** The mean of each square of a view of three square planes: shape `(3, PREVIEW_PX, PREVIEW_PX)`. */
        fun preview(view: FloatArray): FloatArray {
            val square = VIEW_PX / PREVIEW_PX
            return FloatArray(3 * PREVIEW_PX * PREVIEW_PX) { n ->
                val (channel, row, column) = Triple(n / (PREVIEW_PX * PREVIEW_PX), n / PREVIEW_PX % PREVIEW_PX, n % PREVIEW_PX)
                var sum = 0.0
                for (y in row * square until (row + 1) * square) {
                    val start = (channel * VIEW_PX + y) * VIEW_PX + column * square
                    for (x in start until start + square) sum += view[x]
                }
                (sum / (square * square)).toFloat()
            }
        }

        /** Which proposal is carried out: that of the best median, among those that are sure enough and worth it. */
        fun best(gains: FloatArray, bar: Double, worth: Double): Int? {
            var best: Int? = null
            for (n in 0 until gains.size / QUANTILES) {
                val median = gains[n * QUANTILES + 1]
                val sure = gains[n * QUANTILES] > bar && median > worth
                if (sure && (best == null || median > gains[best * QUANTILES + 1])) best = n
            }
            return best
        }

        /** Reads the settings of a manifest's gate, which its schema has validated. */
        fun read(raw: Map<String, Any?>): JudgeSettings = JudgeSettings(
            asList(raw["proposals"]).map(::asObject).map { proposal ->
                val keys = asList(proposal["attributes"])
                Proposal(
                    Attribute.entries.filter { it.key in keys }.toSet(),
                    (proposal["dead_zone"] as Number? ?: 0).toDouble(),
                    (proposal["strength"] as Number? ?: 1).toDouble(),
                )
            },
            (raw["bar"] as Number).toDouble(),
            (raw["worth"] as Number).toDouble(),
        )

        private fun joined(parts: List<FloatArray>): FloatArray {
            val size = parts.first().size
            return FloatArray(parts.size * size).also { out -> parts.forEachIndexed { n, part -> part.copyInto(out, n * size) } }
        }
    }
}
