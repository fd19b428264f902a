package org.pocketcrafter.core.geometry

import org.pocketcrafter.core.generated.Constants.FULL_SEVERITY_DEGREES
import org.pocketcrafter.core.generated.Constants.LEAST_FREED
import org.pocketcrafter.core.generated.Constants.LEAST_NEARER
import org.pocketcrafter.core.generated.Constants.LEAST_TURN_DEGREES
import org.pocketcrafter.core.generated.Constants.SURE_OF_TILT
import kotlin.math.abs
import kotlin.math.min

/**
 * A network's estimate of the horizon's tilt.
 *
 * @property degrees the clockwise turn that would level the photo.
 * @property confidence in [0, 1], how sure the network is of it.
 */
data class TiltOpinion(val degrees: Double, val confidence: Double) {
    /** Whether it may be acted on, or called level. */
    val isSure: Boolean get() = confidence >= SURE_OF_TILT

    /** The turn that is carried out, in degrees; 0 where the network is not sure, or the photo is level. */
    val turn: Double get() = if (isSure && abs(degrees) >= LEAST_TURN_DEGREES) degrees else 0.0

    /** How bad the tilt is, in [0, 1]; 0 is level. */
    val severity: Double get() = min(1.0, abs(turn) / FULL_SEVERITY_DEGREES)
}

/** What a reason speaks of. */
enum class ReasonKind {
    /** What stands out is nearer to a crossing of the thirds. */
    THIRDS,

    /** It is nearer to the middle. */
    CENTER,

    /** Less of it is cut. */
    BORDER,
}

/**
 * One measured fact that a crop betters.
 *
 * @property before of the uncropped photo: a distance in sides of the frame, or a share of what stands out.
 * @property after the same of the crop.
 * @property words the same for people, in English.
 */
data class Reason(val kind: ReasonKind, val before: Double, val after: Double, val words: String) {
    companion object {
        /** Says which of the measured facts a crop betters, the plainest first; nothing that was not measured is said. */
        fun of(before: FrameFacts, after: FrameFacts): List<Reason> = listOfNotNull(
            nearer(ReasonKind.THIRDS, before.toThird, after.toThird, "to a crossing of the thirds"),
            nearer(ReasonKind.CENTER, before.toMiddle, after.toMiddle, "to the middle"),
            freed(before.atBorder, after.atBorder),
        )

        private fun nearer(kind: ReasonKind, before: Double, after: Double, where: String): Reason? {
            if (before - after < LEAST_NEARER) return null
            val words = "what stands out comes nearer $where (${percent(before)} of the frame's side away, now ${percent(after)})"
            return Reason(kind, before, after, words)
        }

        private fun freed(before: Double, after: Double): Reason? {
            if (before - after < LEAST_FREED) return null
            val words = "the border cuts ${percent(after)} of what stands out instead of ${percent(before)}"
            return Reason(ReasonKind.BORDER, before, after, words)
        }

        private fun percent(share: Double) = "${rounded(100 * share)}%"
    }
}
