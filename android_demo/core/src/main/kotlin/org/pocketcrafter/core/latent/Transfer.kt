package org.pocketcrafter.core.latent

import org.pocketcrafter.core.ShapeException
import org.pocketcrafter.core.generated.Constants.GRID_BINS
import org.pocketcrafter.core.generated.Constants.GRID_COEFFICIENTS
import org.pocketcrafter.core.generated.Constants.GRID_COLUMNS
import org.pocketcrafter.core.generated.Constants.GRID_ROWS
import org.pocketcrafter.core.photo.Planes
import org.pocketcrafter.core.photo.Renderer
import org.pocketcrafter.core.photo.ToneGrid
import kotlin.math.abs
import kotlin.math.log10
import kotlin.math.max

/**
 * An edit of a small picture as a bilateral grid, which carries it to a photo's own pixels.
 *
 * @property grid applied to the picture before the edit, it gives about the one after.
 * @property errorDb how far it misses that, PSNR of pictures in [0, 1]; infinite where it does not.
 */
class Transfer private constructor(val grid: ToneGrid, val errorDb: Double) {
    companion object {
        private const val TERMS = 4
        private const val COLORS = 3
        private const val COLUMNS = TERMS + COLORS
        private const val MOMENTS = TERMS * COLUMNS
        private const val CELLS = GRID_BINS * GRID_ROWS * GRID_COLUMNS

        /** What the pixels around a cell add to its own: their share, and over how many cells they are averaged. */
        private val WIDER = listOf(0.05 to 1, 0.002 to 3)

        /** Side of what is fitted; of larger pictures, every second or third pixel tells as much. */
        private const val MOST_PX = 512

        /** Pull towards identity, as a share of a photo's pixels in a cell: what no pixel decides stays as it is. */
        private const val RIDGE = 1e-5
        private const val EVERYWHERE = 1e-6
        private const val LEAST_PIXELS = 1e-3

        /**
         * Fits a grid of affine color transforms to what an edit did.
         *
         * Each cell has the least-squares affine transform of the pixels around it in place and luma, each weighted as
         * slicing weights the cell. Where few pixels are, more distant ones decide; where none are, nothing changes.
         *
         * @param before a picture in [0, 1].
         * @param after the same picture after the edit.
         * @throws ShapeException if the two are not of one size.
         */
        fun fit(before: Planes, after: Planes): Transfer {
            if (before.channels != COLORS || before.width != after.width || before.height != after.height || after.channels != COLORS) {
                throw ShapeException("An edit has one size before and after.")
            }
            val step = (max(before.height, before.width) + MOST_PX - 1) / MOST_PX
            val (from, to) = thinned(before, step) to thinned(after, step)
            val grid = ToneGrid(solved(moments(from, to), from.height * from.width))
            return Transfer(grid, missed(grid, from, to))
        }

        private fun thinned(planes: Planes, step: Int): Planes {
            if (step == 1) return planes
            val (height, width) = listOf(planes.height, planes.width).map { (it + step - 1) / step }
            val out = FloatArray(planes.channels * height * width) { n ->
                val (channel, y, x) = Triple(n / (height * width), n / width % height, n % width)
                planes.values[(channel * planes.height + y * step) * planes.width + x * step]
            }
            return Planes(planes.channels, height, width, out)
        }

        /** Each cell's weighted sums of products: of the terms with each other, and with what they became. */
        private fun moments(before: Planes, after: Planes): DoubleArray {
            val total = DoubleArray(CELLS * MOMENTS)
            val size = before.height * before.width
            val terms = DoubleArray(COLUMNS).also { it[COLORS] = 1.0 }
            for (y in 0 until before.height) {
                val (row, down) = place(y, before.height, GRID_ROWS)
                for (x in 0 until before.width) {
                    val (column, across) = place(x, before.width, GRID_COLUMNS)
                    for (color in 0 until COLORS) {
                        terms[color] = before.values[color * size + y * before.width + x].toDouble()
                        terms[TERMS + color] = after.values[color * size + y * before.width + x].toDouble()
                    }
                    val luma = Renderer.luma(terms[0], terms[1], terms[2]).coerceIn(0.0, 1.0) * (GRID_BINS - 1)
                    for (corner in 0 until 8) {
                        val bin = luma.toInt() + corner / 4
                        if (bin >= GRID_BINS) continue
                        val light = 1 - abs(luma - bin)
                        val weight = light * (if (corner / 2 % 2 == 0) 1 - down else down) * if (corner % 2 == 0) 1 - across else across
                        val cell = (bin * GRID_ROWS + row + corner / 2 % 2) * GRID_COLUMNS + column + corner % 2
                        add(total, cell * MOMENTS, terms, weight)
                    }
                }
            }
            return total
        }

        private fun add(total: DoubleArray, start: Int, terms: DoubleArray, weight: Double) {
            for (first in 0 until TERMS) {
                val weighted = weight * terms[first]
                for (second in 0 until COLUMNS) total[start + first * COLUMNS + second] += weighted * terms[second]
            }
        }

        /** The cell before a pixel along a side, and how far the pixel is on its way to the next one. */
        private fun place(pixel: Int, pixels: Int, cells: Int): Pair<Int, Double> {
            val place = (pixel + 0.5) / pixels * (cells - 1)
            return place.toInt() to place - place.toInt()
        }

        private fun solved(moments: DoubleArray, pixels: Int): FloatArray {
            val wide = moments.copyOf()
            for ((share, reach) in WIDER) averaged(moments, reach).let { for (n in wide.indices) wide[n] += share * it[n] }
            for (moment in 0 until MOMENTS) {
                val everywhere = (moment until moments.size step MOMENTS).sumOf { moments[it] } / pixels
                for (at in moment until wide.size step MOMENTS) wide[at] += EVERYWHERE * everywhere
            }
            val values = FloatArray(GRID_COEFFICIENTS * CELLS)
            for (cell in 0 until CELLS) {
                val rows = Array(TERMS) { wide.copyOfRange(cell * MOMENTS + it * COLUMNS, cell * MOMENTS + (it + 1) * COLUMNS) }
                val pull = RIDGE * max(rows[COLORS][COLORS], LEAST_PIXELS)
                for (term in 0 until TERMS) {
                    rows[term][term] += pull
                    if (term < COLORS) rows[term][TERMS + term] += pull
                }
                eliminate(rows)
                for (color in 0 until COLORS) {
                    for (term in 0 until TERMS) values[(color * TERMS + term) * CELLS + cell] = rows[term][TERMS + color].toFloat()
                }
            }
            return values
        }

        /** Gauss and Jordan's elimination with pivots: the right columns become the solution. */
        private fun eliminate(rows: Array<DoubleArray>) {
            for (column in 0 until TERMS) {
                val pivot = (column until TERMS).maxBy { abs(rows[it][column]) }
                rows[column] = rows[pivot].also { rows[pivot] = rows[column] }
                val scale = rows[column][column]
                for (n in rows[column].indices) rows[column][n] /= scale
                for (row in 0 until TERMS) {
                    if (row == column) continue
                    val factor = rows[row][column]
                    for (n in rows[row].indices) rows[row][n] -= factor * rows[column][n]
                }
            }
        }

        /** The mean of the cells around each, `2·reach + 1` along each axis; beyond the grid there is nothing. */
        private fun averaged(values: DoubleArray, reach: Int): DoubleArray {
            var found = values
            var stride = MOMENTS
            for (side in listOf(GRID_COLUMNS, GRID_ROWS, GRID_BINS)) {
                val from = found
                val out = DoubleArray(from.size)
                for (at in out.indices) {
                    val place = at / stride % side
                    var sum = 0.0
                    for (other in max(0, place - reach)..minOf(side - 1, place + reach)) sum += from[at + (other - place) * stride]
                    out[at] = sum / (2 * reach + 1)
                }
                found = out
                stride *= side
            }
            return found
        }

        private fun missed(grid: ToneGrid, before: Planes, after: Planes): Double {
            val size = before.height * before.width
            val slicer = grid.slicer(before.width, before.height)
            val row = FloatArray(COLORS * before.width)
            var squares = 0.0
            for (y in 0 until before.height) {
                for (n in row.indices) row[n] = before.values[n % COLORS * size + y * before.width + n / COLORS]
                slicer.moveTo(y)
                slicer.apply(row)
                for (n in row.indices) {
                    val error = row[n].coerceIn(0f, 1f) - after.values[n % COLORS * size + y * before.width + n / COLORS]
                    squares += error.toDouble() * error
                }
            }
            return if (squares == 0.0) Double.POSITIVE_INFINITY else -10 * log10(squares / (COLORS * size))
        }
    }
}
