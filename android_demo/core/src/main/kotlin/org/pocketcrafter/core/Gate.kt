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

/** The gate of a bundle: the part of a predicted plan that is sure enough to be carried out. */
data class GateSettings(private val attributes: Map<Attribute, AttributeGate>) {
    /** The gate of one attribute. */
    operator fun get(attribute: Attribute): AttributeGate = attributes.getValue(attribute)

    /**
     * Turns the critic's raw outputs into the plan that is carried out.
     *
     * @param plan raw plan in vector units, one entry for each [Attribute].
     * @param presence probabilities, one for each [Attribute].
     * @param confidence probabilities, one for each [Attribute].
     * @return zero wherever presence, confidence or amount is below its threshold or not a finite number; elsewhere
     *   the shrunk amount, clipped to the attribute's range.
     * @throws ShapeException if an array has another size.
     */
    fun apply(plan: FloatArray, presence: FloatArray, confidence: FloatArray): EditPlan {
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
        return EditPlan.ofVector(gated)
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
            )
        }

        private fun number(raw: Map<String, Any?>, key: String): Double = (raw[key] as Number).toDouble()
    }
}
