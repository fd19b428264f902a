package org.pocketcrafter.core

import org.pocketcrafter.core.generated.Attribute
import java.math.BigDecimal
import java.math.RoundingMode

/**
 * What to do to a photo, in physical units; `0` always means "no change".
 *
 * Turns and crops are no part of it: a composition network decides on them, where [Framing] asks for it.
 *
 * @param amounts the amount of each attribute in its own unit; what is absent is 0.
 */
data class EditPlan(private val amounts: Map<Attribute, Double> = emptyMap()) {
    init {
        for ((attribute, amount) in amounts) {
            if (amount !in attribute.lowest..attribute.highest) {
                throw ConfigException("${attribute.key} is from ${attribute.lowest} to ${attribute.highest}, not $amount.")
            }
        }
    }

    /** The amount of an attribute, in its own unit. */
    operator fun get(attribute: Attribute): Double = amounts[attribute] ?: 0.0

    /** Returns the plan with another amount of one attribute; an amount out of range throws [ConfigException]. */
    fun with(attribute: Attribute, amount: Double): EditPlan = EditPlan(amounts + (attribute to amount))

    /** The plan as the networks take it: one entry for each [Attribute], in units of [Attribute.unit]. */
    fun vector(): FloatArray = FloatArray(SIZE) { (this[Attribute.entries[it]] / Attribute.entries[it].unit).toFloat() }

    /**
     * Returns the plan with every amount times a strength, clipped to its range.
     *
     * @param strength ≥ 0.
     */
    fun scaled(strength: Double): EditPlan =
        ofVector(vector().let { v -> FloatArray(SIZE) { v[it] * strength.toFloat() } })

    /** Whether any tone asks for a change. */
    val changesTones: Boolean get() = Attribute.entries.any { !it.restores && this[it] != 0.0 }

    /** Whether noise, blur or block artifacts are to be removed. */
    val restores: Boolean get() = Attribute.entries.any { it.restores && this[it] != 0.0 }

    /** The plan in words, as in "+0.8 EV, 25 mired warmer, denoise 0.4". */
    fun words(): String = Attribute.entries.filter { this[it] != 0.0 }.joinToString { words(it, this[it]) }
        .ifEmpty { "left as it is" }

    override fun equals(other: Any?): Boolean = other is EditPlan && Attribute.entries.all { this[it] == other[it] }

    override fun hashCode(): Int = Attribute.entries.map { this[it] }.hashCode()

    companion object {
        private val SIZE = Attribute.entries.size

        /**
         * Returns the plan of a vector; entries outside an attribute's range are clipped to it.
         *
         * @param vector one finite entry for each [Attribute], in units of [Attribute.unit].
         * @throws ShapeException if it has another size.
         */
        fun ofVector(vector: FloatArray): EditPlan {
            if (vector.size != SIZE) throw ShapeException("A plan vector has $SIZE entries, not ${vector.size}.")
            return EditPlan(
                Attribute.entries.associateWith { (vector[it.ordinal] * it.unit).coerceIn(it.lowest, it.highest) },
            )
        }

        private fun words(attribute: Attribute, amount: Double): String = when (attribute) {
            Attribute.EXPOSURE -> "${signed(amount, 1)} EV"
            Attribute.TEMPERATURE -> "${fixed(amount, 0)} mired ${if (amount > 0) "warmer" else "cooler"}"
            Attribute.TINT -> "${fixed(amount, 0)} mired ${if (amount > 0) "more magenta" else "greener"}"
            Attribute.CONTRAST, Attribute.HIGHLIGHTS, Attribute.SHADOWS, Attribute.SATURATION ->
                "${attribute.key} ${signed(amount, 2)}"
            else -> "${attribute.key} ${fixed(amount, 1)}"
        }

        private fun signed(amount: Double, digits: Int) = (if (amount < 0) "-" else "+") + fixed(amount, digits)
    }
}

/** The magnitude, rounded half to even from the exact binary value, as Python rounds. */
internal fun fixed(amount: Double, digits: Int): String =
    BigDecimal(amount).abs().setScale(digits, RoundingMode.HALF_EVEN).toPlainString()
