package org.pocketcrafter.sdk

import android.graphics.Bitmap
import android.graphics.ColorSpace
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.photo.Pixels

/** Bitmaps as the core's pixels, and back, a band of rows at a time. */
object Bitmaps {
    private const val BAND_PX = 1 shl 18
    private const val OPAQUE = 0xFF shl 24

    /**
     * Returns a bitmap's pixels: sRGB, its transparency left out.
     *
     * @throws ConfigException if it was recycled.
     */
    fun toPixels(bitmap: Bitmap): Pixels {
        if (bitmap.isRecycled) throw ConfigException("The bitmap was recycled.")
        val readable = readable(bitmap)
        val (width, height) = readable.width to readable.height
        val rgb = ByteArray(3 * width * height)
        bands(width, height) { top, rows, colors ->
            readable.getPixels(colors, 0, width, 0, top, width, rows)
            var at = 3 * top * width
            for (n in 0 until rows * width) {
                rgb[at++] = (colors[n] shr 16).toByte()
                rgb[at++] = (colors[n] shr 8).toByte()
                rgb[at++] = colors[n].toByte()
            }
        }
        if (readable !== bitmap) readable.recycle()
        return Pixels(width, height, rgb)
    }

    /** Returns pixels as an opaque bitmap. */
    fun toBitmap(pixels: Pixels): Bitmap {
        val bitmap = Bitmap.createBitmap(pixels.width, pixels.height, Bitmap.Config.ARGB_8888)
        bitmap.setHasAlpha(false)
        draw(pixels, bitmap)
        return bitmap
    }

    /** Writes pixels into a mutable bitmap of their size: sliders draw into the bitmap that is shown. */
    fun draw(pixels: Pixels, bitmap: Bitmap) {
        val width = pixels.width
        val rgb = pixels.rgb
        bands(width, pixels.height) { top, rows, colors ->
            var at = 3 * top * width
            for (n in 0 until rows * width) {
                val red = rgb[at++].toInt() and 0xFF
                val green = rgb[at++].toInt() and 0xFF
                val blue = rgb[at++].toInt() and 0xFF
                colors[n] = OPAQUE or (red shl 16) or (green shl 8) or blue
            }
            bitmap.setPixels(colors, 0, width, 0, top, width, rows)
        }
    }

    /** The bitmap itself, or a copy of it in sRGB that the CPU can read. */
    private fun readable(bitmap: Bitmap): Bitmap {
        val inSrgb = bitmap.colorSpace?.let { it == ColorSpace.get(ColorSpace.Named.SRGB) } ?: true
        if (bitmap.config == Bitmap.Config.ARGB_8888 && inSrgb) return bitmap
        // `copy` keeps the color space of what it copies; drawing converts it.
        val drawable = if (bitmap.config == Bitmap.Config.HARDWARE) bitmap.copy(Bitmap.Config.ARGB_8888, false) else bitmap
        val plain = Bitmap.createBitmap(bitmap.width, bitmap.height, Bitmap.Config.ARGB_8888)
        android.graphics.Canvas(plain).drawBitmap(drawable, 0f, 0f, null)
        if (drawable !== bitmap) drawable.recycle()
        return plain
    }

    private inline fun bands(width: Int, height: Int, work: (Int, Int, IntArray) -> Unit) {
        val rows = maxOf(1, BAND_PX / width)
        val colors = IntArray(rows * width)
        for (top in 0 until height step rows) work(top, minOf(rows, height - top), colors)
    }
}
