package org.pocketcrafter.core.geometry

import org.pocketcrafter.core.generated.Constants.BACKGROUND_QUANTILE
import org.pocketcrafter.core.generated.Constants.EDGE_SHARE
import org.pocketcrafter.core.generated.Constants.MAP_PX
import org.pocketcrafter.core.generated.Constants.SALIENCE_BLUR_PX
import org.pocketcrafter.core.photo.Blur
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.photo.Resampler
import org.pocketcrafter.core.photo.Resampling
import kotlin.math.hypot
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sqrt

/**
 * Where what stands out lies in a frame, whose sides are 1.
 *
 * @property toThird distance of its center from the nearest crossing of the thirds.
 * @property toMiddle distance of its center from the middle.
 * @property atBorder share of it near the border: what the frame cuts.
 */
data class FrameFacts(val toThird: Double, val toMiddle: Double, val atBorder: Double)

/**
 * Where a photo's colors stand out: facts for the reasons, not for the ranking.
 *
 * @property values shape `(height, width)`, in [0, 1].
 */
class Salience(val width: Int, val height: Int, val values: FloatArray) {
    /**
     * Measures a box of the photo.
     *
     * @param across width of the photo in pixels of the box.
     * @param down height of the photo in pixels of the box.
     */
    fun facts(across: Int, down: Int, box: CropBox): FrameFacts {
        var (total, deep) = 0.0 to 0.0
        var (sumX, sumY) = 0.0 to 0.0
        for (row in 0 until height) {
            val y = ((row + 0.5) / height * down - box.top) / box.height
            for (column in 0 until width) {
                val x = ((column + 0.5) / width * across - box.left) / box.width
                if (x !in 0.0..1.0 || y !in 0.0..1.0) continue
                val mass = values[row * width + column].toDouble()
                total += mass
                sumX += mass * x
                sumY += mass * y
                if (isDeep(x) && isDeep(y)) deep += mass
            }
        }
        if (total <= 0) return FrameFacts(toThird(0.5, 0.5), 0.0, 0.0)
        val (x, y) = listOf(sumX, sumY).map { (it / total).coerceIn(0.0, 1.0) }
        return FrameFacts(toThird(x, y), hypot(x - 0.5, y - 0.5), (1 - deep / total).coerceIn(0.0, 1.0))
    }

    private fun isDeep(place: Double) = place > EDGE_SHARE && place < 1 - EDGE_SHARE

    private fun toThird(x: Double, y: Double) = THIRDS.minOf { across -> THIRDS.minOf { down -> hypot(x - across, y - down) } }

    companion object {
        private val THIRDS = listOf(1.0 / 3, 2.0 / 3)

        /** Measures how far each place's color is from the mean color (Achanta et al., CVPR 2009). */
        fun of(pixels: Pixels): Salience {
            val share = min(1.0, MAP_PX / max(pixels.width, pixels.height).toDouble())
            val (width, height) = listOf(pixels.width, pixels.height).map { max(1, rounded(it * share)) }
            val small = Blur(SALIENCE_BLUR_PX).blurred(Resampler(Resampling.BILINEAR).resized(pixels, width, height))
            val colors = List(width * height) { n -> opponents(small, n) }
            val mean = List(3) { plane -> colors.sumOf { it[plane] } / colors.size }
            val distances = colors.map { color -> sqrt(mean.indices.sumOf { (color[it] - mean[it]) * (color[it] - mean[it]) }) }
            val background = quantile(distances, BACKGROUND_QUANTILE)
            val above = distances.map { max(0.0, it - background) }
            val top = above.max()
            return Salience(width, height, FloatArray(above.size) { (if (top > 0) above[it] / top else 0.0).toFloat() })
        }

        /** Opponent colors: Lab without its cube roots, which tell nothing more here. */
        private fun opponents(pixels: Pixels, place: Int): List<Double> {
            val (r, g, b) = List(3) { pixels.level(place / pixels.width, place % pixels.width, it) / 255.0 }
            return listOf((r + g + b) / 3, (r - g) / 2, (r + g) / 4 - b / 2)
        }

        /** The value that a share of all values lies below; between two of them, on the line. */
        private fun quantile(values: List<Double>, share: Double): Double {
            val sorted = values.sorted()
            val place = share * (sorted.size - 1)
            val below = sorted[place.toInt()]
            return below + (sorted[min(place.toInt() + 1, sorted.size - 1)] - below) * (place - place.toInt())
        }
    }
}
