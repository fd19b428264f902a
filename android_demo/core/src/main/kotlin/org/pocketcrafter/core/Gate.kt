package org.pocketcrafter.core

import org.pocketcrafter.core.bundle.asObject
import org.pocketcrafter.core.generated.Attribute
import kotlin.math.abs

/**
 * What one attribute of a predicted plan must reach before it is carried out, and how much of it is then.
 *
 * @property presence the lowest P(attribute needs a change), in [0, 1].
 * @property confidence the lowest P(predicted amount is near the truth), in [0, 1].
 * @property deadZone smaller predicted amounts are dropped; in vector units.
 * @property shrink the share of the predicted amount that is carried out, in [0, 1]; 0 never changes it.
 */
data class AttributeGate(val presence: Double, val confidence: Double, val deadZone: Double, val shrink: Double)

/**
 * The gate of a bundle: the part of a predicted plan that is sure enough to be carried out.
 *
 * @property judge how the component `judge` chooses tones, in place of their thresholds; `null` without it.
 */
data class GateSettings(private val attributes: Map<Attribute, AttributeGate>, val judge: JudgeSettings?) {
    /** The gate of one attribute. */
    operator fun get(attribute: Attribute): AttributeGate = attributes.getValue(attribute)

    /** Whether an attribute can be changed at all; of others nothing is said. */
    fun assesses(attribute: Attribute): Boolean =
        if (judge == null || attribute.restores) this[attribute].shrink > 0 else attribute in judge.proposed

    /** The same gate without its judge, as a bundle without that component has it. */
    fun unjudged(): GateSettings = copy(judge = null)

    /**
     * Turns the critic's raw outputs into the plan that is carried out.
     *
     * @param plan raw plan in vector units, one entry for each [Attribute].
     * @param presence probabilities, one for each [Attribute].
     * @param confidence probabilities, one for each [Attribute].
     * @param tones what the judge chose, `null` where it left the photo as it is; not read where there is no judge.
     * @return zero wherever presence, confidence or amount is below its threshold or not a finite number; elsewhere
     *   the shrunk amount, clipped to the attribute's range. With a judge the tones are those that it chose.
     * @throws ShapeException if an array has another size.
     */
    fun apply(plan: FloatArray, presence: FloatArray, confidence: FloatArray, tones: EditPlan? = null): EditPlan {
        for (array in listOf(plan, presence, confidence)) {
            if (array.size != Attribute.entries.size) {
                throw ShapeException("The critic judges ${Attribute.entries.size} attributes, not ${array.size}.")
            }
        }
        val gated = FloatArray(plan.size) { n ->
            val gate = this[Attribute.entries[n]]
            val kept = plan[n].isFinite() && presence[n] >= gate.presence && confidence[n] >= gate.confidence &&
                abs(plan[n]) >= gate.deadZone
            if (kept) (plan[n] * gate.shrink).toFloat() else 0f
        }
        val kept = EditPlan.ofVector(gated)
        if (judge == null) return kept
        return EditPlan(Attribute.entries.associateWith { if (it.restores) kept[it] else tones?.get(it) ?: 0.0 })
    }

    companion object {
        /**
         * Reads the gate of a manifest's settings, which its schema has validated.
         *
         * @throws BundleException if an attribute has none.
         */
        fun read(raw: Map<String, Any?>): GateSettings {
            val gates = asObject(raw["attributes"])
            return GateSettings(
                Attribute.entries.associateWith { attribute ->
                    val gate = asObject(gates[attribute.key] ?: throw BundleException("There is no gate for ${attribute.key}."))
                    AttributeGate(
                        number(gate, "presence"), number(gate, "confidence"), number(gate, "dead_zone"),
                        if ("shrink" in gate) number(gate, "shrink") else 1.0,
                    )
                },
                raw["judge"]?.let { JudgeSettings.read(asObject(it)) },
            )
        }

        private fun number(raw: Map<String, Any?>, key: String): Double = (raw[key] as Number).toDouble()
    }
}
