package org.pocketcrafter.core.photo

import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sin

/** A filter of Pillow's; [reach] is how far it looks at full size, in pixels, and [key] its name in manifests. */
enum class Resampling(val key: String, internal val reach: Double) {
    /** The pixel that lies there. */
    NEAREST("nearest", 0.0),

    /** A tent. */
    BILINEAR("bilinear", 1.0),

    /** Keys' cubic with a = −0.5. */
    BICUBIC("bicubic", 2.0),

    /** A sinc in a window of three lobes. */
    LANCZOS("lanczos", 3.0),
}

/**
 * Resizes pictures as Pillow 13 does, to the last bit: networks are trained on what it makes of photos.
 *
 * Each pixel is a weighted sum of the pixels under a filter, which is stretched where the picture shrinks: in one pass
 * along the rows and one along the columns. At 8 bits the weights have 22 bits behind the point, and each pass is rounded.
 */
class Resampler(private val filter: Resampling) {
    /** Returns a picture at another size. */
    fun resized(pixels: Pixels, width: Int, height: Int): Pixels =
        resized(pixels, width, height, Span(0.0, pixels.width.toDouble()), Span(0.0, pixels.height.toDouble()))

    /** Returns a part of a picture at another size; filters look beyond the part's edges. */
    fun resized(pixels: Pixels, width: Int, height: Int, columns: Span, rows: Span): Pixels = when {
        filter == Resampling.NEAREST -> nearest(pixels, width, height)
        columnsFirst(pixels.height, pixels.width, height, width) -> across(down(pixels, height, rows), width, columns)
        else -> down(across(pixels, width, columns), height, rows)
    }

    /**
     * Returns a picture at a smaller size, which is first averaged over whole blocks of pixels where it shrinks far.
     *
     * @param gap how many times larger than the result what is filtered still is.
     */
    fun reduced(pixels: Pixels, width: Int, height: Int, gap: Double): Pixels {
        val (across, down) = listOf(pixels.width.toDouble() / width, pixels.height.toDouble() / height).map { max(1, (it / gap).toInt()) }
        if (across == 1 && down == 1) return resized(pixels, width, height)
        val (columns, rows) = Span(0.0, pixels.width.toDouble() / across) to Span(0.0, pixels.height.toDouble() / down)
        return resized(averaged(pixels, across, down), width, height, columns, rows)
    }

    /** Returns planes at another size, in floats. */
    fun resized(planes: Planes, width: Int, height: Int): Planes =
        if (columnsFirst(planes.height, planes.width, height, width)) {
            across(down(planes, height), width)
        } else {
            down(across(planes, width), height)
        }

    /**
     * A part of a side, in pixels.
     *
     * @property first where it starts.
     * @property last where it ends.
     */
    class Span(val first: Double, val last: Double) {
        internal fun isAll(pixels: Int): Boolean = first == 0.0 && last == pixels.toDouble()
    }

    /** Which pass Pillow takes first; it matters where a pass is rounded. */
    private fun columnsFirst(oldHeight: Int, oldWidth: Int, height: Int, width: Int): Boolean =
        oldHeight - height > 2 * max(0, oldWidth - width)

    private fun across(pixels: Pixels, width: Int, span: Span): Pixels {
        if (width == pixels.width && span.isAll(width)) return pixels
        val out = ByteArray(3 * width * pixels.height)
        val areas = areas(span, pixels.width, width)
        for (y in 0 until pixels.height) {
            for ((x, area) in areas.withIndex()) {
                for (channel in 0 until 3) out[3 * (y * width + x) + channel] = area.rounded { pixels.level(y, it, channel) }
            }
        }
        return Pixels(width, pixels.height, out)
    }

    private fun down(pixels: Pixels, height: Int, span: Span): Pixels {
        if (height == pixels.height && span.isAll(height)) return pixels
        val width = pixels.width
        val out = ByteArray(3 * width * height)
        for ((y, area) in areas(span, pixels.height, height).withIndex()) {
            for (x in 0 until width) {
                for (channel in 0 until 3) out[3 * (y * width + x) + channel] = area.rounded { pixels.level(it, x, channel) }
            }
        }
        return Pixels(width, height, out)
    }

    private fun across(planes: Planes, width: Int): Planes {
        if (width == planes.width) return planes
        val out = FloatArray(planes.channels * planes.height * width)
        val areas = areas(Span(0.0, planes.width.toDouble()), planes.width, width)
        for (row in 0 until planes.channels * planes.height) {
            for ((x, area) in areas.withIndex()) out[row * width + x] = area.sum { planes.values[row * planes.width + it] }
        }
        return Planes(planes.channels, planes.height, width, out)
    }

    private fun down(planes: Planes, height: Int): Planes {
        if (height == planes.height) return planes
        val width = planes.width
        val out = FloatArray(planes.channels * height * width)
        for ((y, area) in areas(Span(0.0, planes.height.toDouble()), planes.height, height).withIndex()) {
            for (channel in 0 until planes.channels) {
                for (x in 0 until width) {
                    out[(channel * height + y) * width + x] =
                        area.sum { planes.values[(channel * planes.height + it) * width + x] }
                }
            }
        }
        return Planes(planes.channels, height, width, out)
    }

    /** The mean of blocks of pixels, rounded by Pillow's product; the last ones may be smaller. */
    private fun averaged(pixels: Pixels, across: Int, down: Int): Pixels {
        val (width, height) = (pixels.width + across - 1) / across to (pixels.height + down - 1) / down
        val out = ByteArray(3 * width * height)
        for (y in 0 until height) {
            val rows = y * down until min((y + 1) * down, pixels.height)
            for (x in 0 until width) {
                val columns = x * across until min((x + 1) * across, pixels.width)
                val count = rows.count() * columns.count()
                val factor = (1L shl 24) / count
                for (channel in 0 until 3) {
                    val sum = rows.sumOf { row -> columns.sumOf { pixels.level(row, it, channel) } }
                    out[3 * (y * width + x) + channel] = ((sum + count / 2) * factor shr 24).toByte()
                }
            }
        }
        return Pixels(width, height, out)
    }

    private fun nearest(pixels: Pixels, width: Int, height: Int): Pixels {
        val rows = places(pixels.height, height)
        val columns = places(pixels.width, width)
        val out = ByteArray(3 * width * height)
        for (y in 0 until height) {
            for (x in 0 until width) {
                val from = 3 * (rows[y] * pixels.width + columns[x])
                pixels.rgb.copyInto(out, 3 * (y * width + x), from, from + 3)
            }
        }
        return Pixels(width, height, out)
    }

    /** Where each pixel of a new side is taken from; added up step by step, as rounding is part of the answer. */
    private fun places(old: Int, new: Int): IntArray {
        val scale = old.toDouble() / new
        var place = scale * 0.5
        return IntArray(new) { min(place.toInt(), old - 1).also { place += scale } }
    }

    /** The pixels under the filter at one place, and their weights, which add up to 1. */
    private class Area(val first: Int, val weights: DoubleArray) {
        private val whole = IntArray(weights.size) { n ->
            (weights[n] * (1 shl BITS) + if (weights[n] < 0) -0.5 else 0.5).toInt()
        }

        inline fun rounded(level: (Int) -> Int): Byte {
            var sum = 1 shl (BITS - 1)
            for (n in whole.indices) sum += whole[n] * level(first + n)
            return (sum shr BITS).coerceIn(0, 255).toByte()
        }

        inline fun sum(value: (Int) -> Float): Float {
            var sum = 0.0
            for (n in weights.indices) sum += value(first + n) * weights[n]
            return sum.toFloat()
        }
    }

    private fun areas(span: Span, old: Int, new: Int): List<Area> {
        val scale = (span.last - span.first) / new
        val stretch = max(scale, 1.0)
        val reach = filter.reach * stretch
        return List(new) { n ->
            val center = span.first + (n + 0.5) * scale
            val first = max(0, (center - reach + 0.5).toInt())
            val until = min(old, (center + reach + 0.5).toInt())
            val weights = DoubleArray(until - first) { weight((it + first - center + 0.5) * (1 / stretch)) }
            val sum = weights.sum()
            if (sum != 0.0) for (place in weights.indices) weights[place] /= sum
            Area(first, weights)
        }
    }

    private fun weight(place: Double): Double {
        val x = abs(place)
        return when (filter) {
            Resampling.NEAREST -> 0.0
            Resampling.BILINEAR -> max(0.0, 1 - x)
            Resampling.BICUBIC -> when {
                x < 1 -> ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
                x < 2 -> (((x - 5) * x + 8) * x - 4) * CUBIC
                else -> 0.0
            }
            Resampling.LANCZOS -> if (place >= -3 && place < 3) sinc(place) * sinc(place / 3) else 0.0
        }
    }

    private fun sinc(x: Double): Double = if (x == 0.0) 1.0 else sin(x * PI) / (x * PI)

    private companion object {
        const val BITS = 22
        const val CUBIC = -0.5
    }
}
