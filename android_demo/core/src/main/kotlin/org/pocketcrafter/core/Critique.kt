package org.pocketcrafter.core

import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Item
import org.pocketcrafter.core.geometry.TiltOpinion
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
 * @property findings one for every item; the horizon's is [withTilt]'s.
 */
data class Critique(val score: Double, val plan: EditPlan, val findings: Map<Item, Finding>) {
    /** Returns the critique with the horizon assessed: not where the tilt is unknown or not sure. */
    fun withTilt(tilt: TiltOpinion?): Critique {
        val finding = when {
            tilt == null || !tilt.isSure -> Finding.NotAssessed
            tilt.severity > 0 -> Finding.Fault(tilt.severity)
            else -> Finding.Fine
        }
        return copy(findings = findings + (Item.VIEWPOINT to finding))
    }

    /** What people read: score and plan, then what was found in each group. */
    fun lines(): List<String> = listOf("score ${fixed(score, 0)}, ${plan.words()}") +
        Item.entries.groupBy { it.group }.map { (group, items) ->
            val told = items.mapNotNull { item -> words(item)?.let { "${item.label} $it" } }
            "  ${group.padEnd(GROUP_WIDTH)} ${told.joinToString().ifEmpty { "not assessed" }}"
        }

    /** What was found of an item: how bad it is, and by which attribute where it is not called after that. */
    private fun words(item: Item): String? = when (val finding = findings.getValue(item)) {
        Finding.NotAssessed -> null
        Finding.Fine -> "fine"
        is Finding.Fault -> {
            val cause = item.measuredBy.maxByOrNull { abs(plan[it]) / it.unit }
            val named = cause?.takeIf { it != item.measuredBy.first() }?.let { " (${it.key.substringBefore('_')})" }
            fixed(finding.severity, 2) + named.orEmpty()
        }
    }

    companion object {
        private const val GROUP_WIDTH = 16

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
