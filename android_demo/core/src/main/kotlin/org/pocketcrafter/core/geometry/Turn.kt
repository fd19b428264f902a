package org.pocketcrafter.core.geometry

import org.pocketcrafter.core.ShapeException
import org.pocketcrafter.core.photo.Pixels
import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.cos
import kotlin.math.floor
import kotlin.math.min
import kotlin.math.sin

/** A part of a picture, in pixels; [right] and [bottom] are the first beyond it. */
data class CropBox(val left: Int, val top: Int, val right: Int, val bottom: Int) {
    /** Pixels from left to right. */
    val width: Int get() = right - left

    /** Pixels from top to bottom. */
    val height: Int get() = bottom - top
}

/**
 * Levelling and cropping in one resampling.
 *
 * The levelled canvas has the size of the photo and shares its center; the photo lies on it turned clockwise. Boxes are in
 * its pixels.
 */
object Turn {
    /**
     * Returns the largest box of the photo's aspect, around its center, that a turn leaves without empty corners.
     *
     * @param degrees under 90 in size, in either direction.
     */
    fun inscribedBox(width: Int, height: Int, degrees: Double): CropBox {
        if (degrees == 0.0) return CropBox(0, 0, width, height)
        val angle = Math.toRadians(degrees)
        val (sine, cosine) = abs(sin(angle)) to cos(angle)
        val share = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
        // Rounded inwards by whole pixels on both sides, so that the box stays centered.
        val (across, down) = listOf(width, height).map { side -> min(ceil((1 - share) * side / 2).toInt(), (side - 1) / 2) }
        return CropBox(across, down, width - across, height - down)
    }

    /**
     * Turns a photo clockwise and keeps a box of the levelled canvas; bicubic, and exact where nothing is turned.
     *
     * @return the box's pixels; black where it lies outside the photo, which that of [inscribedBox] does not.
     * @throws ShapeException if the box is empty or reaches over the canvas.
     */
    fun cut(pixels: Pixels, box: CropBox, degrees: Double = 0.0): Pixels {
        if (box.left < 0 || box.top < 0 || box.width < 1 || box.height < 1 || box.right > pixels.width || box.bottom > pixels.height) {
            throw ShapeException("The crop box $box does not lie in ${pixels.width}×${pixels.height} px.")
        }
        val out = ByteArray(3 * box.width * box.height)
        val turned = Turned(pixels, box, degrees)
        for (y in 0 until box.height) {
            if (degrees == 0.0) {
                val from = 3 * ((box.top + y) * pixels.width + box.left)
                pixels.rgb.copyInto(out, 3 * y * box.width, from, from + 3 * box.width)
            } else {
                for (x in 0 until box.width) turned.write(out, y, x)
            }
        }
        return Pixels(box.width, box.height, out)
    }

    /** A photo that is read where a turn takes the pixels of a box from. */
    private class Turned(private val pixels: Pixels, private val box: CropBox, degrees: Double) {
        private val cosine = cos(Math.toRadians(degrees))
        private val sine = sin(Math.toRadians(degrees))
        private val rows = DoubleArray(4)

        fun write(out: ByteArray, y: Int, x: Int) {
            val across = box.left + x + 0.5 - pixels.width / 2.0
            val down = box.top + y + 0.5 - pixels.height / 2.0
            val sourceX = cosine * across + sine * down + pixels.width / 2.0
            val sourceY = -sine * across + cosine * down + pixels.height / 2.0
            // What lies outside stays black.
            if (sourceX < 0 || sourceX >= pixels.width || sourceY < 0 || sourceY >= pixels.height) return
            val left = floor(sourceX - 0.5).toInt()
            val top = floor(sourceY - 0.5).toInt()
            for (channel in 0 until 3) {
                for (row in 0 until 4) {
                    // Rows beyond the photo repeat the last one, columns the border.
                    val place = (top - 1 + row).coerceIn(0, pixels.height - 1)
                    rows[row] = cubic(level(place, left - 1, channel), level(place, left, channel), level(place, left + 1, channel), level(place, left + 2, channel), sourceX - 0.5 - left)
                }
                val value = cubic(rows[0], rows[1], rows[2], rows[3], sourceY - 0.5 - top)
                out[3 * (y * box.width + x) + channel] = value.coerceIn(0.0, 255.0).toInt().toByte()
            }
        }

        private fun level(row: Int, column: Int, channel: Int): Double =
            pixels.level(row, column.coerceIn(0, pixels.width - 1), channel).toDouble()

        /** Keys' cubic with a = −1, which Pillow turns pictures with. */
        private fun cubic(first: Double, second: Double, third: Double, fourth: Double, share: Double): Double =
            second + share * (third - first + share * (2 * (first - second) + third - fourth + share * (second - first + fourth - third)))
    }
}
