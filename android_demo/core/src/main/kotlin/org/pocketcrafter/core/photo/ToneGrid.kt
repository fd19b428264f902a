package org.pocketcrafter.core.photo

import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.ShapeException
import org.pocketcrafter.core.generated.Constants.GRID_BINS
import org.pocketcrafter.core.generated.Constants.GRID_COEFFICIENTS
import org.pocketcrafter.core.generated.Constants.GRID_COLUMNS
import org.pocketcrafter.core.generated.Constants.GRID_ROWS

/**
 * A bilateral grid: an affine transform of color for every pixel, looked up by place and luma, interpolated trilinearly.
 *
 * Bin k stands at luma k/7 and cell i at i/15 of the photo's side: pixel x of W reads coordinate `15·(x + 0.5)/W`.
 *
 * @property values shape `(GRID_COEFFICIENTS, GRID_BINS, GRID_ROWS, GRID_COLUMNS)`; 3×4 coefficients, row-major.
 * @throws ShapeException if it has another size.
 * @throws RunnerException if a value is not finite.
 */
class ToneGrid(val values: FloatArray) {
    init {
        if (values.size != SIZE) throw ShapeException("A bilateral grid has $SIZE values, not ${values.size}.")
        if (!values.all { it.isFinite() }) throw RunnerException("The tone network gave a grid with values that are not finite.")
    }

    /** Returns the grid with its departure from identity times a strength. */
    fun blended(strength: Double): ToneGrid {
        val factor = strength.toFloat()
        return ToneGrid(FloatArray(SIZE) { n ->
            val identity = if (n / CELLS % 5 == 0) 1f else 0f
            identity + factor * (values[n] - identity)
        })
    }

    /** Returns what applies the grid to the rows of a photo of one size. */
    fun slicer(width: Int, height: Int): Slicer = Slicer(width, height)

    /** Applies the grid to whole rows of a photo; not to be shared between threads. */
    inner class Slicer internal constructor(private val width: Int, private val height: Int) {
        /** The grid between two of its rows, as `(GRID_BINS, GRID_COLUMNS, GRID_COEFFICIENTS)`. */
        private val row = FloatArray(GRID_BINS * GRID_COLUMNS * GRID_COEFFICIENTS)
        private val columns = IntArray(width) { below(coordinate(it, width, GRID_COLUMNS), GRID_COLUMNS) }
        private val shares = FloatArray(width) { coordinate(it, width, GRID_COLUMNS) - columns[it] }

        /** Takes up a row of pixels, counted from the top. */
        fun moveTo(y: Int) {
            val place = coordinate(y, height, GRID_ROWS)
            val above = below(place, GRID_ROWS)
            val share = place - above
            for (coefficient in 0 until GRID_COEFFICIENTS) {
                for (bin in 0 until GRID_BINS) {
                    val start = ((coefficient * GRID_BINS + bin) * GRID_ROWS + above) * GRID_COLUMNS
                    for (column in 0 until GRID_COLUMNS) {
                        val upper = values[start + column]
                        row[(bin * GRID_COLUMNS + column) * GRID_COEFFICIENTS + coefficient] =
                            upper + share * (values[start + GRID_COLUMNS + column] - upper)
                    }
                }
            }
        }

        /**
         * Transforms the row, in place.
         *
         * @param rgb `3 · width` values in [0, 1], pixel by pixel; what comes out is not clipped.
         */
        fun apply(rgb: FloatArray) {
            for (x in 0 until width) {
                val red = rgb[3 * x]
                val green = rgb[3 * x + 1]
                val blue = rgb[3 * x + 2]
                val luma = Renderer.luma(red, green, blue).coerceIn(0f, 1f) * (GRID_BINS - 1)
                val bin = below(luma, GRID_BINS)
                val light = luma - bin
                val right = shares[x]
                val at = (bin * GRID_COLUMNS + columns[x]) * GRID_COEFFICIENTS
                // Weights of the four corners: darker left and right, lighter left and right.
                val d = light * right
                val c = light - d
                val b = right - d
                val a = 1 - light - b
                for (channel in 0 until 3) {
                    val first = at + 4 * channel
                    rgb[3 * x + channel] = mixed(first, a, b, c, d) * red + mixed(first + 1, a, b, c, d) * green +
                        mixed(first + 2, a, b, c, d) * blue + mixed(first + 3, a, b, c, d)
                }
            }
        }

        private fun mixed(at: Int, a: Float, b: Float, c: Float, d: Float): Float =
            a * row[at] + b * row[at + GRID_COEFFICIENTS] + c * row[at + LIGHTER] + d * row[at + LIGHTER + GRID_COEFFICIENTS]
    }

    private companion object {
        const val CELLS = GRID_BINS * GRID_ROWS * GRID_COLUMNS
        const val SIZE = GRID_COEFFICIENTS * CELLS
        const val LIGHTER = GRID_COLUMNS * GRID_COEFFICIENTS

        fun coordinate(pixel: Int, pixels: Int, cells: Int): Float =
            minOf((pixel + 0.5) / pixels * (cells - 1), cells - 1.0).toFloat()

        /** The cell at or below a coordinate that has another one above it. */
        fun below(coordinate: Float, cells: Int): Int = minOf(coordinate.toInt(), cells - 2)
    }
}
