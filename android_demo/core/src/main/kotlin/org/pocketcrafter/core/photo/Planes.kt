package org.pocketcrafter.core.photo

import org.pocketcrafter.core.ShapeException

/**
 * Latents or a picture as networks take them: one plane of floats for each channel.
 *
 * @property values shape `(channels, height, width)`.
 * @throws ShapeException if the sizes do not agree.
 */
class Planes(val channels: Int, val height: Int, val width: Int, val values: FloatArray) {
    init {
        if (channels.toLong() * height * width != values.size.toLong()) {
            throw ShapeException("$channels planes of $width×$height have not ${values.size} values.")
        }
    }

    /** Returns the same places with other values. */
    inline fun map(change: (Float) -> Float): Planes =
        Planes(channels, height, width, FloatArray(values.size) { change(values[it]) })

    /**
     * Returns the same places with values that follow from these and from others.
     *
     * @throws ShapeException if the other ones have another size.
     */
    inline fun with(other: Planes, change: (Float, Float) -> Float): Planes {
        if (other.values.size != values.size) throw ShapeException("Planes of ${other.values.size} values beside ${values.size}.")
        return Planes(channels, height, width, FloatArray(values.size) { change(values[it], other.values[it]) })
    }

    /** Returns what lies in a rectangle. */
    fun cut(top: Int, left: Int, height: Int, width: Int): Planes {
        val out = FloatArray(channels * height * width)
        for (channel in 0 until channels) {
            for (y in 0 until height) {
                val from = (channel * this.height + top + y) * this.width + left
                values.copyInto(out, (channel * height + y) * width, from, from + width)
            }
        }
        return Planes(channels, height, width, out)
    }
}
