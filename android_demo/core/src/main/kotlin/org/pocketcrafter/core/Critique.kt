package org.pocketcrafter.core

import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Item
import kotlin.math.abs

/** What a critique says of one item. */
sealed interface Finding {
    /** Nothing stands behind an opinion. */
    data object NotAssessed : Finding

    /** There is nothing to mend. */
    data object Fine : Finding

    /** There is a fault, of a severity in (0, 1]. */
    data class Fault(val severity: Double) : Finding
}

/**
 * The diagnosis of one photo.
 *
 * @property score from 0 to 100; higher is better.
 * @property plan what is worth changing: the plan after the gate.
 * @property findings one for every item; the horizon is not assessed by this core.
 */
data class Critique(val score: Double, val plan: EditPlan, val findings: Map<Item, Finding>) {
    companion object {
        /**
         * Reads a critique off the critic's outputs.
         *
         * @param plan raw plan in vector units, one entry for each [Attribute].
         * @param presence probabilities, one for each [Attribute].
         * @param confidence probabilities, one for each [Attribute].
         * @param score in [0, 1]; clipped to it, and 0 where it is no number.
         * @param gate the bundle's gate; an item is assessed where it can open for one of the item's attributes.
         * @param tones what the gate's judge chose, `null` where it chose nothing; not read where there is no judge.
         * @throws ShapeException if an array has another size.
         */
        fun of(
            plan: FloatArray, presence: FloatArray, confidence: FloatArray, score: Float, gate: GateSettings, tones: EditPlan? = null,
        ): Critique {
            val gated = gate.apply(plan, presence, confidence, tones)
            return Critique(100 * unit(score.toDouble()), gated, Item.entries.associateWith { finding(it, gated, gate) })
        }

        private fun finding(item: Item, plan: EditPlan, gate: GateSettings): Finding {
            val attributes = item.measuredBy.filter(gate::assesses)
            if (attributes.isEmpty()) return Finding.NotAssessed
            val severity = attributes.maxOf { abs(plan[it]) / it.unit }
            return if (severity > 0) Finding.Fault(unit(severity)) else Finding.Fine
        }

        private fun unit(value: Double): Double = if (value.isNaN()) 0.0 else value.coerceIn(0.0, 1.0)
    }
}
