package org.pocketcrafter.core.photo

import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.ShapeException
import org.pocketcrafter.core.generated.Constants.OVERLAP_PX
import org.pocketcrafter.core.generated.Constants.TILE_PX

/**
 * Overlapping tiles: a network of fixed shape over a photo of any size, without seams.
 *
 * @property tile a tile's side, in pixels.
 * @property overlap what neighbors share, in pixels; `2 · overlap ≤ tile`.
 */
class Tiles(private val tile: Int = TILE_PX, private val overlap: Int = OVERLAP_PX) {
    private val stride = tile - overlap

    /** Where tiles start along a side of some pixels; the last may reach past its end, where the photo is reflected. */
    fun starts(length: Int): List<Int> = (0 until maxOf(1, length - overlap) step stride).toList()

    /** The blending weight of tile [index] of [count] along a side, shape `(tile)`; those of all tiles add up to 1. */
    fun feather(index: Int, count: Int): FloatArray = FloatArray(tile) { n ->
        val end = n - stride
        when {
            index > 0 && n < overlap -> (n + 0.5f) / overlap
            index < count - 1 && end >= 0 -> 1 - (end + 0.5f) / overlap
            else -> 1f
        }
    }

    /**
     * Runs a network over all tiles and blends its results; one band of tiles is held in floats.
     *
     * @param network maps a tile, shape `(3, tile, tile)` in [0, 1], to a result of that shape; clipped afterwards.
     * @param progress called with tiles done and tiles in all, after each.
     * @throws ShapeException if the network returns another size.
     * @throws RunnerException if it returns values that are not finite.
     */
    fun map(pixels: Pixels, progress: (Int, Int) -> Unit = { _, _ -> }, network: (FloatArray) -> FloatArray): Pixels {
        val tops = starts(pixels.height)
        val lefts = starts(pixels.width)
        val across = lefts.indices.map { feather(it, lefts.size) }
        val bandWidth = lefts.last() + tile
        val band = FloatArray(3 * tile * bandWidth)
        val out = ByteArray(pixels.rgb.size)
        for ((row, top) in tops.withIndex()) {
            val down = feather(row, tops.size)
            for ((column, left) in lefts.withIndex()) {
                val result = network(cut(pixels, top, left))
                check(result)
                blend(result, band, bandWidth, left, down, across[column])
                progress(row * lefts.size + column + 1, tops.size * lefts.size)
            }
            val finished = minOf(if (row == tops.lastIndex) tile else stride, pixels.height - top)
            for (y in 0 until finished) {
                val start = 3 * (top + y) * pixels.width
                for (n in 0 until 3 * pixels.width) {
                    out[start + n] = Math.rint(band[3 * y * bandWidth + n].coerceIn(0f, 1f) * 255.0).toInt().toByte()
                }
            }
            val kept = 3 * overlap * bandWidth
            band.copyInto(band, 0, 3 * stride * bandWidth, 3 * tile * bandWidth)
            band.fill(0f, kept)
        }
        return Pixels(pixels.width, pixels.height, out)
    }

    private fun cut(pixels: Pixels, top: Int, left: Int): FloatArray {
        val out = FloatArray(3 * tile * tile)
        for (y in 0 until tile) {
            val sourceY = reflected(top + y, pixels.height)
            for (x in 0 until tile) {
                val sourceX = reflected(left + x, pixels.width)
                for (channel in 0 until 3) out[(channel * tile + y) * tile + x] = pixels.level(sourceY, sourceX, channel) / 255f
            }
        }
        return out
    }

    private fun blend(result: FloatArray, band: FloatArray, bandWidth: Int, left: Int, down: FloatArray, across: FloatArray) {
        for (y in 0 until tile) {
            for (x in 0 until tile) {
                val weight = down[y] * across[x]
                val at = 3 * (y * bandWidth + left + x)
                for (channel in 0 until 3) band[at + channel] += weight * result[(channel * tile + y) * tile + x]
            }
        }
    }

    private fun check(result: FloatArray) {
        if (result.size != 3 * tile * tile) throw ShapeException("A restored tile has ${3 * tile * tile} values, not ${result.size}.")
        if (!result.all { it.isFinite() }) throw RunnerException("The restoration network gave values that are not finite.")
    }
}
