package org.pocketcrafter.core.photo

import org.pocketcrafter.core.EditPlan

/** The tones of an edit at full resolution: render, tone grid and rounding, row by row. */
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
        val slicer = grid?.slicer(pixels.width, pixels.height)
        val out = ByteArray(pixels.rgb.size)
        val rgb = FloatArray(3)
        for (y in 0 until pixels.height) {
            slicer?.moveTo(y)
            for (x in 0 until pixels.width) {
                for (channel in 0 until 3) rgb[channel] = tables[channel][pixels.level(y, x, channel)]
                renderer.scaleChroma(rgb)
                slicer?.apply(x, rgb)
                val at = 3 * (y * pixels.width + x)
                for (channel in 0 until 3) out[at + channel] = (rgb[channel] * 255f + 0.5f).coerceIn(0f, 255f).toInt().toByte()
            }
        }
        return Pixels(pixels.width, pixels.height, out)
    }
}
