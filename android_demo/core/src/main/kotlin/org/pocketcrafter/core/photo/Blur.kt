package org.pocketcrafter.core.photo

import kotlin.math.floor
import kotlin.math.sqrt

/**
 * Blurs pictures as Pillow does, to the last bit: a Gaussian of so many pixels of standard deviation, as three means of
 * boxes with fractional borders (Gwosdek et al., SSVM 2011), first along the rows, then along the columns.
 */
class Blur(deviation: Double) {
    private val reach: Int
    private val inner: Long
    private val outer: Long

    init {
        val variance = deviation * deviation / PASSES
        val whole = floor((sqrt(12 * variance + 1) - 1) / 2)
        val border = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) * (whole + 1)))
        reach = whole.toInt()
        inner = ((1 shl BITS) / (2 * (whole + border) + 1)).toLong()
        outer = ((1L shl BITS) - (2 * reach + 1) * inner) / 2
    }

    /** Returns a picture of the same size; beyond its border the last pixels go on. */
    fun blurred(pixels: Pixels): Pixels {
        val row = 3 * pixels.width
        val starts = List(3 * pixels.height) { it / 3 * row + it % 3 }
        var rgb = pixels.rgb
        repeat(PASSES) { rgb = mean(rgb, starts, 3, pixels.width) }
        repeat(PASSES) { rgb = mean(rgb, List(row) { it }, row, pixels.height) }
        return Pixels(pixels.width, pixels.height, rgb)
    }

    /** The means along lines of samples that lie a step apart; rounded. */
    private fun mean(rgb: ByteArray, starts: List<Int>, step: Int, length: Int): ByteArray {
        val out = ByteArray(rgb.size)
        for (start in starts) {
            fun level(place: Int) = rgb[start + step * place.coerceIn(0, length - 1)].toLong() and 0xFF
            for (n in 0 until length) {
                val inside = (n - reach..n + reach).sumOf { level(it) }
                val border = level(n - reach - 1) + level(n + reach + 1)
                out[start + step * n] = (inside * inner + border * outer + (1 shl (BITS - 1)) shr BITS).toByte()
            }
        }
        return out
    }

    private companion object {
        const val PASSES = 3
        const val BITS = 24
    }
}
