package org.pocketcrafter.core.latent

import org.pocketcrafter.core.photo.Planes
import kotlin.math.max
import kotlin.math.min

/**
 * Where tiles of a network of fixed size lie on a larger picture, counted in latents; a tile as large as the picture is
 * the picture.
 *
 * @property tile a tile's side.
 * @property height the picture's, not below the tile's.
 * @property width the picture's, not below the tile's.
 */
class LatentTiles(private val tile: Int, private val height: Int, private val width: Int) {
    /** Top and left of each tile, evenly spread. */
    val places: List<Pair<Int, Int>> = starts(height).flatMap { top -> starts(width).map { left -> top to left } }

    /**
     * Runs a network on each tile of its inputs, and blends what it gives.
     *
     * @param given latents or pixels of the whole picture, by name.
     * @param done called after each tile; what it throws ends the work.
     * @param run from tiles of the inputs to one tile of latents or pixels.
     * @return what the network gives, of the whole picture.
     */
    fun map(given: Map<String, Planes>, done: () -> Unit = {}, run: (Map<String, Planes>) -> Planes): Planes {
        if (tile == height && tile == width) return run(given).also { done() }
        var blended: Blend? = null
        for ((top, left) in places) {
            val made = run(given.mapValues { (_, planes) -> cut(planes, top, left) })
            val blend = blended ?: Blend(made).also { blended = it }
            blend.add(made, top, left)
            done()
        }
        return checkNotNull(blended).planes()
    }

    private fun cut(planes: Planes, top: Int, left: Int): Planes {
        val scale = planes.height / height
        return planes.cut(top * scale, left * scale, tile * scale, tile * scale)
    }

    private fun starts(side: Int): List<Int> {
        val stride = tile - tile / OVERLAP
        val count = 1 + (side - tile + stride - 1) / stride
        val step = if (count > 1) (side - tile).toDouble() / (count - 1) else 0.0
        return (0 until count).map { Math.rint(it * step).toInt() }
    }

    /** Tiles added up, each by its weights. */
    private inner class Blend(first: Planes) {
        private val side = first.height
        private val channels = first.channels
        private val scale = side.toDouble() / tile
        private val rows = Math.rint(height * scale).toInt()
        private val columns = Math.rint(width * scale).toInt()
        private val total = FloatArray(channels * rows * columns)
        private val weights = FloatArray(rows * columns)

        /** Full in the middle of a tile, falling off to its ends over what tiles share. */
        private val window = FloatArray(side) { n ->
            val ramp = max(1, side / OVERLAP).toFloat()
            min(1f, min((n + 0.5f) / ramp, (side - 1 - n + 0.5f) / ramp))
        }

        fun add(made: Planes, top: Int, left: Int) {
            val firstRow = Math.rint(top * scale).toInt()
            val firstColumn = Math.rint(left * scale).toInt()
            for (y in 0 until side) {
                for (x in 0 until side) {
                    val weight = window[y] * window[x]
                    val at = (firstRow + y) * columns + firstColumn + x
                    weights[at] += weight
                    for (channel in 0 until channels) {
                        total[channel * rows * columns + at] += made.values[(channel * side + y) * side + x] * weight
                    }
                }
            }
        }

        fun planes() = Planes(channels, rows, columns, FloatArray(total.size) { total[it] / weights[it % weights.size] })
    }

    private companion object {
        /** Neighboring tiles share this part of their side. */
        const val OVERLAP = 4
    }
}
