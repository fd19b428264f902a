package org.pocketcrafter.core

import org.pocketcrafter.core.geometry.Composed
import org.pocketcrafter.core.photo.Pixels

/** What is counted while a photo is worked on. */
enum class Stage {
    /** Boxes that a composition network judges. */
    BOXES,

    /** Words of a latent critic's answer. */
    WORDS,

    /** Steps of a latent artist, once for each tile. */
    STEPS,

    /** Tiles of a restoration network. */
    TILES,
}

/** What may be done to a photo's frame. */
enum class Framing {
    /** Nothing. */
    AS_IS,

    /** It is turned until the horizon is level. */
    LEVEL,

    /** It is turned, and cropped where that betters it. */
    LEVEL_AND_CROP,
}

/**
 * What became of a photo.
 *
 * @property pixels the very input where a pocket pair had nothing to do.
 * @property plan what was carried out; `null` for an artist that takes no plan.
 * @property critique the numbers behind the plan, the horizon's where the photo was levelled; `null` where the critic answers in words.
 * @property notes what to say of it, such as how much of an edit was carried to the photo's own size.
 * @property composed how it was turned and cropped; `null` where that was not asked for, or the photo is too small.
 */
data class Enhanced(
    val pixels: Pixels,
    val plan: EditPlan?,
    val critique: Critique?,
    val notes: List<String> = emptyList(),
    val composed: Composed? = null,
)

/** Enhances photos with the networks of one bundle, of whatever family; not to be shared between threads. */
interface Enhancer : AutoCloseable {
    /**
     * Runs the first networks that a photo needs, once.
     *
     * @throws RunnerException if one fails.
     */
    fun warm()

    /**
     * Enhances a photo at its own resolution.
     *
     * @param strength factor on the edit, in [0, 2]; 0 changes nothing.
     * @param asked the plan to carry out in place of the critic's.
     * @param framing what may be done to the photo's frame, whatever the strength.
     * @param progress told how many of a stage are done and of how many at most; what it throws ends the work.
     * @throws ConfigException if the strength is out of range, or the pair cannot do what is asked for.
     * @throws RunnerException if a network fails.
     */
    fun enhance(
        pixels: Pixels,
        strength: Double = 1.0,
        asked: EditPlan? = null,
        framing: Framing = Framing.AS_IS,
        progress: (Stage, Int, Int) -> Unit = { _, _, _ -> },
    ): Enhanced

    /** What every pair shares. */
    companion object {
        private const val MAX_STRENGTH = 2.0
        private const val GRAY_PX = 64
        private const val GRAY_LEVEL: Byte = 0x70

        /** What is looked at to see that a network runs. */
        internal val GRAY: Pixels get() = Pixels(GRAY_PX, GRAY_PX, ByteArray(3 * GRAY_PX * GRAY_PX) { GRAY_LEVEL })

        internal fun checkStrength(strength: Double) {
            if (strength !in 0.0..MAX_STRENGTH) throw ConfigException("The strength is from 0 to $MAX_STRENGTH, not $strength.")
        }
    }
}
