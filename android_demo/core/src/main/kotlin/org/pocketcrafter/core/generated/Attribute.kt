// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.
package org.pocketcrafter.core.generated

/**
 * What a plan can change, in the order of the critic's and artist's vectors.
 *
 * @property key the name in JSON.
 * @property unit one unit of the plan vector in the attribute's own unit.
 * @property lowest the lowest legal value, in the attribute's own unit.
 * @property highest the highest legal value, in the attribute's own unit.
 * @property restores whether the restoration network carries it out; the others are tones.
 */
enum class Attribute(
    val key: String,
    val unit: Double,
    val lowest: Double,
    val highest: Double,
    val restores: Boolean,
) {
    EXPOSURE("exposure_ev", 2.0, -4.0, 4.0, false),
    TEMPERATURE("temperature_mired", 100.0, -200.0, 200.0, false),
    TINT("tint_mired", 50.0, -100.0, 100.0, false),
    CONTRAST("contrast", 1.0, -1.0, 1.0, false),
    HIGHLIGHTS("highlights", 1.0, -1.0, 1.0, false),
    SHADOWS("shadows", 1.0, -1.0, 1.0, false),
    SATURATION("saturation", 1.0, -1.0, 1.0, false),
    DEHAZE("dehaze", 1.0, 0.0, 1.0, false),
    DENOISE("denoise", 1.0, 0.0, 1.0, true),
    DEBLUR("deblur", 1.0, 0.0, 1.0, true),
    DEJPEG("dejpeg", 1.0, 0.0, 1.0, true),
}
