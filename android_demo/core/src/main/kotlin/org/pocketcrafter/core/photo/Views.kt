package org.pocketcrafter.core.photo

import org.pocketcrafter.core.generated.Constants.CROPS
import org.pocketcrafter.core.generated.Constants.CROP_PX
import org.pocketcrafter.core.generated.Constants.VIEW_PX

/** What the networks see of a photo: the whole of it, small, and a few crops at native resolution. */
object Views {
    private const val ALIGN_PX = 8

    /**
     * Resizes the whole photo to the networks' view; each cell is the exact mean of the area it covers.
     *
     * @return shape `(3, VIEW_PX, VIEW_PX)` in [0, 1]; the aspect is not kept.
     */
    fun global(pixels: Pixels): FloatArray {
        val width = pixels.width
        val across = areas(width)
        val view = FloatArray(3 * VIEW_PX * VIEW_PX)
        val row = DoubleArray(3 * width)
        for ((y, down) in areas(pixels.height).withIndex()) {
            row.fill(0.0)
            down.each { source, share ->
                val start = 3 * source * width
                for (n in row.indices) row[n] += share * (pixels.rgb[start + n].toInt() and 0xFF)
            }
            for ((x, area) in across.withIndex()) {
                for (channel in 0 until 3) {
                    var mean = 0.0
                    area.each { source, share -> mean += share * row[3 * source + channel] }
                    view[(channel * VIEW_PX + y) * VIEW_PX + x] = (mean / 255).toFloat().coerceIn(0f, 1f)
                }
            }
        }
        return view
    }

    /**
     * Cuts the detail crops out of the photo, unscaled; photos under [CROP_PX] are extended by reflection.
     *
     * @return shape `(CROPS, 3, CROP_PX, CROP_PX)` in [0, 1], in the order of [cropOrigins].
     */
    fun crops(pixels: Pixels): FloatArray {
        val crops = FloatArray(CROPS * 3 * CROP_PX * CROP_PX)
        cropOrigins(pixels.height, pixels.width).forEachIndexed { n, (top, left) ->
            for (y in 0 until CROP_PX) {
                val sourceY = reflected(top + y, pixels.height)
                for (x in 0 until CROP_PX) {
                    val sourceX = reflected(left + x, pixels.width)
                    for (channel in 0 until 3) {
                        crops[((n * 3 + channel) * CROP_PX + y) * CROP_PX + x] =
                            pixels.level(sourceY, sourceX, channel) / 255f
                    }
                }
            }
        }
        return crops
    }

    /**
     * Places the detail crops: one at the center of each quadrant, on the 8 px lattice of JPEG blocks.
     *
     * @param height of the photo, in pixels.
     * @param width of the photo, in pixels.
     * @return (top, left) of each crop, row by row; multiples of 8.
     */
    fun cropOrigins(height: Int, width: Int): List<Pair<Int, Int>> =
        corners(height).flatMap { top -> corners(width).map { left -> top to left } }

    private fun corners(side: Int): List<Int> {
        val last = maxOf(0, side - CROP_PX)
        return listOf(side / 4, (3L * side / 4).toInt()).map { (it - CROP_PX / 2).coerceAtLeast(0).coerceAtMost(last) / ALIGN_PX * ALIGN_PX }
    }

    /** A cell's part of a side: samples [first] to [last], the outer ones counted by their share. */
    private class Area(val first: Int, val last: Int, val firstShare: Double, val lastShare: Double, val scale: Double) {
        inline fun each(take: (Int, Double) -> Unit) {
            for (n in first..last) {
                var share = 1.0
                if (n == first) share -= firstShare
                if (n == last) share -= 1 - lastShare
                take(n, share * scale)
            }
        }
    }

    private fun areas(length: Int): List<Area> {
        val scale = VIEW_PX.toDouble() / length
        val edges = (0..VIEW_PX).map { it.toLong() * length / VIEW_PX.toDouble() }
        return edges.zipWithNext { start, end ->
            val first = minOf(start.toInt(), length - 1)
            val last = minOf(end.toInt(), length - 1)
            Area(first, last, start - first, end - last, scale)
        }
    }
}

/** The sample that a place past the ends of a side shows: reflection that does not repeat the border. */
internal fun reflected(place: Int, side: Int): Int {
    if (side == 1) return 0
    val period = 2 * side - 2
    val index = place % period
    return minOf(index, period - index)
}
