package org.pocketcrafter.core.photo

import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants
import kotlin.math.abs
import kotlin.math.pow
import kotlin.math.sqrt

/**
 * The analytic renderer: a plan's tones, applied to sRGB-encoded values in linear light.
 *
 * Everything but saturation acts on each channel alone, so that for 8 bits the whole plan is one table a channel and a
 * chroma scale: exact, monotonic and instant.
 *
 * @param plan the plan; only its tones are read.
 */
class Renderer(private val plan: EditPlan) {
    /** Linear-light gains of R, G and B: exposure times a white balance that keeps gray's luma. */
    val gains: FloatArray = run {
        val temperature = plan[Attribute.TEMPERATURE]
        val red = 2.0.pow(temperature * Constants.LOG2_RED_PER_MIRED)
        val green = 2.0.pow(plan[Attribute.TINT] * Constants.LOG2_GREEN_PER_MIRED)
        val blue = 2.0.pow(temperature * Constants.LOG2_BLUE_PER_MIRED)
        val exposed = 2.0.pow(plan[Attribute.EXPOSURE]) / luma(red, green, blue)
        floatArrayOf((exposed * red).toFloat(), (exposed * green).toFloat(), (exposed * blue).toFloat())
    }

    private val slope = 2.0.pow(plan[Attribute.CONTRAST])
    private val chroma = (1 + plan[Attribute.SATURATION]).toFloat()

    /**
     * Applies everything but saturation to one value.
     *
     * @param encoded sRGB-encoded, in [0, 1].
     * @param channel 0 for R, 1 for G, 2 for B.
     * @return sRGB-encoded, in [0, 1]; non-decreasing in `encoded`.
     */
    fun curve(encoded: Double, channel: Int): Double {
        val linear = unveiled(gained(toLinear(encoded), gains[channel].toDouble()))
        var y = toEncoded(linear.coerceIn(0.0, 1.0))
        val lift = plan[Attribute.SHADOWS] * y * (1 - y) * (1 - y) + plan[Attribute.HIGHLIGHTS] * y * y * (1 - y)
        y = (y + Constants.REGION_LIFT * lift).coerceIn(Constants.TONE_EPS, 1 - Constants.TONE_EPS)
        val up = y.pow(slope)
        return up / (up + (1 - y).pow(slope))
    }

    /** The curve of each channel at all 256 levels of 8 bits, in [0, 1]; first R's, then G's, then B's. */
    fun tables(): Array<FloatArray> = Array(3) { channel -> FloatArray(256) { curve(it / 255.0, channel).toFloat() } }

    /**
     * Multiplies the distance of each pixel from its luma by `1 + saturation`, in place.
     *
     * @param rgb pixels one after the other, sRGB-encoded; clipped to [0, 1].
     */
    fun scaleChroma(rgb: FloatArray) {
        if (chroma == 1f) return
        for (n in rgb.indices step 3) {
            val luma = luma(rgb[n], rgb[n + 1], rgb[n + 2])
            rgb[n] = (luma + chroma * (rgb[n] - luma)).coerceIn(0f, 1f)
            rgb[n + 1] = (luma + chroma * (rgb[n + 1] - luma)).coerceIn(0f, 1f)
            rgb[n + 2] = (luma + chroma * (rgb[n + 2] - luma)).coerceIn(0f, 1f)
        }
    }

    /**
     * Applies the plan to a picture.
     *
     * @param encoded sRGB-encoded in [0, 1], planes of R, G and B: shape `(3, N)`.
     * @return the same shape and encoding.
     */
    fun renderPlanes(encoded: FloatArray): FloatArray {
        val size = encoded.size / 3
        val out = FloatArray(encoded.size)
        val rgb = FloatArray(3)
        for (n in 0 until size) {
            for (channel in 0 until 3) rgb[channel] = curve(encoded[channel * size + n].toDouble(), channel).toFloat()
            scaleChroma(rgb)
            for (channel in 0 until 3) out[channel * size + n] = rgb[channel]
        }
        return out
    }

    private fun gained(linear: Double, gain: Double): Double {
        val shoulder = 1 - maxOf(1 - gain, 0.0) * linear.pow(Constants.SHOULDER_POWER)
        return minOf(gain * linear / shoulder, 1.0)
    }

    private fun unveiled(linear: Double): Double {
        val dehaze = plan[Attribute.DEHAZE]
        val veil = Constants.VEIL * dehaze
        val scene = (linear - Constants.AIRLIGHT * veil) / (1 - veil)
        // max(scene, 0) with a rounded corner, written so that nothing cancels below zero.
        val toe = (Constants.TOE * dehaze).let { it * it } + 1e-12
        val larger = 0.5 * (abs(scene) + sqrt(scene * scene + toe))
        return if (scene < 0) 0.25 * toe / larger else larger
    }

    companion object {
        /** Rec. 709 luma of three values. */
        fun luma(red: Double, green: Double, blue: Double): Double =
            Constants.LUMA_RED * red + Constants.LUMA_GREEN * green + Constants.LUMA_BLUE * blue

        /** Rec. 709 luma of three values. */
        fun luma(red: Float, green: Float, blue: Float): Float =
            Constants.LUMA_RED.toFloat() * red + Constants.LUMA_GREEN.toFloat() * green + Constants.LUMA_BLUE.toFloat() * blue

        /** Decodes the sRGB transfer function (IEC 61966-2-1); values in [0, 1]. */
        fun toLinear(encoded: Double): Double =
            if (encoded <= 0.04045) encoded / 12.92 else ((encoded + 0.055) / 1.055).pow(2.4)

        /** Encodes with the sRGB transfer function (IEC 61966-2-1); values in [0, 1]. */
        fun toEncoded(linear: Double): Double =
            if (linear <= 0.0031308) linear * 12.92 else 1.055 * linear.pow(1 / 2.4) - 0.055
    }
}
