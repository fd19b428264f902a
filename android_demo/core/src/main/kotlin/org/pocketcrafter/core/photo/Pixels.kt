package org.pocketcrafter.core.photo

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
}
