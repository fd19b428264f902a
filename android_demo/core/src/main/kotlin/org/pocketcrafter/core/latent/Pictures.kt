package org.pocketcrafter.core.latent

import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.photo.Planes
import org.pocketcrafter.core.photo.Resampler
import org.pocketcrafter.core.photo.Resampling

/** Photos as the networks of the latent family see them: small and square, or as they are; sRGB. */
object Pictures {
    /** What Idefics3's processor scales down to at most, whatever it is told. */
    private const val MOST_PX = 4096

    /**
     * Returns what the vision encoder reads: resized twice, as processors of Idefics3 and SmolVLM do, and normalized.
     *
     * @return shape `(3, side, side)`.
     */
    fun critics(pixels: Pixels, settings: PictureSettings): Planes {
        val resampler = Resampler(settings.resampling)
        val scaled = if (settings.longestEdge == null) pixels else {
            val (height, width) = scaled(pixels.height, pixels.width, settings.longestEdge)
            resampler.resized(pixels, width, height)
        }
        val square = unit(resampler.resized(scaled, settings.side, settings.side))
        val size = settings.side * settings.side
        val normalized = FloatArray(3 * size) { (square.values[it] - settings.mean[it / size]) / settings.deviation[it / size] }
        return Planes(3, settings.side, settings.side, normalized)
    }

    /** Returns the photo as a square in [0, 1], aspect not kept. */
    fun artists(pixels: Pixels, side: Int): Planes = unit(Resampler(Resampling.LANCZOS).resized(pixels, side, side))

    /**
     * Returns the photo at its own size in [0, 1], mirrored below and to the right to what tiles take.
     *
     * @param side of a tile, in pixels: neither side of what is returned is shorter.
     * @param factor of which both sides become multiples.
     */
    fun native(pixels: Pixels, side: Int, factor: Int): Planes {
        val (height, width) = listOf(pixels.height, pixels.width).map { maxOf(side, (it + factor - 1) / factor * factor) }
        val out = FloatArray(3 * height * width)
        for (y in 0 until height) {
            val row = mirrored(y, pixels.height)
            for (x in 0 until width) {
                val column = mirrored(x, pixels.width)
                for (channel in 0 until 3) out[(channel * height + y) * width + x] = pixels.level(row, column, channel) / 255f
            }
        }
        return Planes(3, height, width, out)
    }

    /** Returns values in [0, 1] as levels of 8 bits. */
    fun levels(planes: Planes): Pixels {
        val size = planes.height * planes.width
        val rgb = ByteArray(3 * size)
        for (channel in 0 until 3) {
            for (n in 0 until size) rgb[3 * n + channel] = Math.rint((planes.values[channel * size + n] * 255f).toDouble()).toInt().toByte()
        }
        return Pixels(planes.width, planes.height, rgb)
    }

    /** Returns levels of 8 bits as values in [0, 1]. */
    fun unit(pixels: Pixels): Planes {
        val size = pixels.height * pixels.width
        val out = FloatArray(3 * size) { (pixels.rgb[3 * (it % size) + it / size].toInt() and 0xFF) / 255f }
        return Planes(3, pixels.height, pixels.width, out)
    }

    /** The size that Idefics3's processor scales to: the shorter side even. */
    private fun scaled(height: Int, width: Int, longest: Int): Pair<Int, Int> {
        val aspect = width.toDouble() / height
        val wide = width >= height
        val shorter = (if (wide) longest / aspect else longest * aspect).toInt().let { it + it % 2 }.coerceAtLeast(1)
        if (longest <= MOST_PX) return if (wide) shorter to longest else longest to shorter
        val least = (if (wide) MOST_PX / aspect else MOST_PX * aspect).toInt().coerceAtLeast(1)
        return if (wide) least to MOST_PX else MOST_PX to least
    }

    /** The sample that a place past a side's end shows: reflection that repeats the border. */
    private fun mirrored(place: Int, side: Int): Int = (place % (2 * side)).let { if (it < side) it else 2 * side - 1 - it }
}
