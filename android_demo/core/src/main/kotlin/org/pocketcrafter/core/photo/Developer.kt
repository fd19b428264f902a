package org.pocketcrafter.core.photo

import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.Workers

/** The tones of an edit at full resolution: render, tone grid and rounding, rows shared between threads. */
object Developer {
    /**
     * Applies a plan's tones, and a tone grid after them.
     *
     * @param plan restoration is not read.
     * @param grid the tone grid, or `null` for the analytic render alone.
     * @return a picture of the same size.
     */
    fun develop(pixels: Pixels, plan: EditPlan, grid: ToneGrid?): Pixels {
        val renderer = Renderer(plan)
        val tables = renderer.tables()
        val out = ByteArray(pixels.rgb.size)
        Workers.bands(pixels.height) { first, until ->
            val row = FloatArray(3 * pixels.width)
            val slicer = grid?.slicer(pixels.width, pixels.height)
            for (y in first until until) {
                val start = y * row.size
                look(pixels.rgb, start, tables, row)
                renderer.scaleChroma(row)
                slicer?.moveTo(y)
                slicer?.apply(row)
                for (n in row.indices) out[start + n] = (row[n] * 255f + 0.5f).coerceIn(0f, 255f).toInt().toByte()
            }
        }
        return Pixels(pixels.width, pixels.height, out)
    }

    private fun look(rgb: ByteArray, start: Int, tables: Array<FloatArray>, row: FloatArray) {
        val (red, green, blue) = tables
        for (n in row.indices step 3) {
            row[n] = red[rgb[start + n].toInt() and 0xFF]
            row[n + 1] = green[rgb[start + n + 1].toInt() and 0xFF]
            row[n + 2] = blue[rgb[start + n + 2].toInt() and 0xFF]
        }
    }
}
