package org.pocketcrafter.core.photo

import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.ShapeException

/**
 * A picture of 8 bits a channel: sRGB-encoded RGB, interleaved, row by row from the top.
 *
 * @property width in pixels, ≥ 1.
 * @property height in pixels, ≥ 1.
 * @property rgb `height · width · 3` bytes, each read as 0 to 255.
 * @throws ShapeException if the sizes do not agree.
 */
class Pixels(val width: Int, val height: Int, val rgb: ByteArray) {
    init {
        if (width < 1 || height < 1 || 3L * width * height != rgb.size.toLong()) {
            throw ShapeException("A picture of $width×$height px has not ${rgb.size} bytes of RGB.")
        }
    }

    /** The level of a channel at a place, 0 to 255. */
    internal fun level(y: Int, x: Int, channel: Int): Int = rgb[3 * (y * width + x) + channel].toInt() and 0xFF

    /**
     * Returns the picture turned upright.
     *
     * @param orientation where its top left corner belongs, 1 to 8 as EXIF counts; 1 gives the very picture back.
     * @throws ConfigException if it is none of these.
     */
    fun upright(orientation: Int): Pixels {
        if (orientation !in 1..8) throw ConfigException("EXIF orientations are 1 to 8, not $orientation.")
        if (orientation == 1) return this
        val turned = orientation >= 5
        val mirroredX = orientation in listOf(2, 3, 7, 8)
        val mirroredY = orientation in listOf(3, 4, 6, 7)
        val out = ByteArray(rgb.size)
        var at = 0
        for (y in 0 until if (turned) width else height) {
            for (x in 0 until if (turned) height else width) {
                val column = if (turned) y else x
                val row = if (turned) x else y
                val source = 3 * ((if (mirroredY) height - 1 - row else row) * width + if (mirroredX) width - 1 - column else column)
                out[at++] = rgb[source]
                out[at++] = rgb[source + 1]
                out[at++] = rgb[source + 2]
            }
        }
        return if (turned) Pixels(height, width, out) else Pixels(width, height, out)
    }
}
