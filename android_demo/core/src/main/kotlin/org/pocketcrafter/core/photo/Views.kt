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
        val rgb = pixels.rgb
        val across = areas(pixels.width)
        val view = FloatArray(3 * VIEW_PX * VIEW_PX)
        val sums = IntArray(3 * pixels.width)
        val row = DoubleArray(sums.size)
        for ((y, down) in areas(pixels.height).withIndex()) {
            addRows(rgb, down.first + 1, down.last, sums)
            val first = down.first * row.size
            val last = down.last * row.size
            for (n in row.indices) {
                val ends = down.atFirst * (rgb[first + n].toInt() and 0xFF) + down.atLast * (rgb[last + n].toInt() and 0xFF)
                row[n] = down.scale * (sums[n] + ends)
            }
            for ((x, area) in across.withIndex()) {
                for (channel in 0 until 3) {
                    var mean = 0.0
                    for (source in area.first + 1 until area.last) mean += row[3 * source + channel]
                    mean += area.atFirst * row[3 * area.first + channel] + area.atLast * row[3 * area.last + channel]
                    view[(channel * VIEW_PX + y) * VIEW_PX + x] = (area.scale * mean / 255).toFloat().coerceIn(0f, 1f)
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

    /** A cell's part of a side: samples [first] to [last]; the outer ones count by their share, and all times [scale]. */
    private class Area(val first: Int, val last: Int, val atFirst: Double, val atLast: Double, val scale: Double)

    /** Adds rows of samples up, four at a time: the sums are then read and written a quarter as often. */
    private fun addRows(rgb: ByteArray, from: Int, until: Int, sums: IntArray) {
        sums.fill(0)
        var y = from
        while (y + 4 <= until) {
            val one = y * sums.size
            val two = one + sums.size
            val three = two + sums.size
            val four = three + sums.size
            for (n in sums.indices) {
                sums[n] += (rgb[one + n].toInt() and 0xFF) + (rgb[two + n].toInt() and 0xFF) +
                    (rgb[three + n].toInt() and 0xFF) + (rgb[four + n].toInt() and 0xFF)
            }
            y += 4
        }
        while (y < until) {
            val start = y++ * sums.size
            for (n in sums.indices) sums[n] += rgb[start + n].toInt() and 0xFF
        }
    }

    private fun areas(length: Int): List<Area> {
        val scale = VIEW_PX.toDouble() / length
        val edges = (0..VIEW_PX).map { it.toLong() * length / VIEW_PX.toDouble() }
        return edges.zipWithNext { start, end ->
            val first = minOf(start.toInt(), length - 1)
            val last = minOf(end.toInt(), length - 1)
            if (first == last) Area(first, last, end - start, 0.0, scale) else Area(first, last, first + 1 - start, end - last, scale)
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
