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

    /** Applies the grid to the rows of a photo, one after the other; not to be shared between threads. */
    inner class Slicer internal constructor(width: Int, private val height: Int) {
        /** The grid between two of its rows, as `(GRID_BINS, GRID_COLUMNS, GRID_COEFFICIENTS)`. */
        private val row = FloatArray(GRID_BINS * GRID_COLUMNS * GRID_COEFFICIENTS)
        private val places = FloatArray(width) { coordinate(it, width, GRID_COLUMNS) }

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

        /** Transforms the pixel at a column of the row, in place; [0, 1] goes in, what comes out is not clipped. */
        fun apply(x: Int, rgb: FloatArray) {
            val (red, green, blue) = rgb
            val luma = Renderer.luma(red, green, blue).coerceIn(0f, 1f) * (GRID_BINS - 1)
            val bin = below(luma, GRID_BINS)
            val light = luma - bin
            val column = below(places[x], GRID_COLUMNS)
            val right = places[x] - column
            val darker = (bin * GRID_COLUMNS + column) * GRID_COEFFICIENTS
            val lighter = darker + GRID_COLUMNS * GRID_COEFFICIENTS
            for (channel in 0 until 3) {
                val at = 4 * channel
                rgb[channel] = mixed(darker + at, lighter + at, right, light) * red +
                    mixed(darker + at + 1, lighter + at + 1, right, light) * green +
                    mixed(darker + at + 2, lighter + at + 2, right, light) * blue +
                    mixed(darker + at + 3, lighter + at + 3, right, light)
            }
        }

        private fun mixed(darker: Int, lighter: Int, right: Float, light: Float): Float {
            val dark = row[darker] + right * (row[darker + GRID_COEFFICIENTS] - row[darker])
            val bright = row[lighter] + right * (row[lighter + GRID_COEFFICIENTS] - row[lighter])
            return dark + light * (bright - dark)
        }
    }

    private companion object {
        const val CELLS = GRID_BINS * GRID_ROWS * GRID_COLUMNS
        const val SIZE = GRID_COEFFICIENTS * CELLS

        fun coordinate(pixel: Int, pixels: Int, cells: Int): Float =
            minOf((pixel + 0.5) / pixels * (cells - 1), cells - 1.0).toFloat()

        /** The cell at or below a coordinate that has another one above it. */
        fun below(coordinate: Float, cells: Int): Int = minOf(coordinate.toInt(), cells - 2)
    }
}
