package org.pocketcrafter.core.geometry

import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.generated.Constants.COST_OF_AREA
import org.pocketcrafter.core.generated.Constants.CROP_MARGIN
import org.pocketcrafter.core.generated.Constants.LEAST_PHOTO_PX
import org.pocketcrafter.core.generated.Constants.LETTERBOX
import org.pocketcrafter.core.generated.Constants.VIEW_PX
import org.pocketcrafter.core.generated.Constants.WORKING_PX
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.photo.Resampler
import org.pocketcrafter.core.photo.Resampling
import kotlin.math.max
import kotlin.math.min

/**
 * What was found out about a photo's composition, and what follows from it.
 *
 * @property tilt what the network makes of the horizon.
 * @property turnDegrees the clockwise turn that is carried out.
 * @property box what is kept of the levelled canvas; `null` keeps the whole photo.
 * @property cropped whether the box is a crop by choice, not only what a turn leaves.
 * @property reasons why it is cropped; empty where it is not, or nothing that was measured speaks for it.
 */
data class Composed(
    val tilt: TiltOpinion,
    val turnDegrees: Double,
    val box: CropBox?,
    val cropped: Boolean,
    val reasons: List<Reason> = emptyList(),
) {
    /** Carries it out, at the photo's own resolution. */
    fun framed(pixels: Pixels): Pixels = if (box == null) pixels else Turn.cut(pixels, box, turnDegrees)
}

/** Decides how photos are levelled and cropped, with one composition network. */
class Composer(private val network: Runner) {
    /**
     * Asks the network for a photo's tilt; `null` where the photo is too small to tell.
     *
     * @throws RunnerException if the network fails.
     */
    fun tilt(pixels: Pixels): TiltOpinion? = if (isLargeEnough(pixels)) tiltOf(working(pixels)) else null

    /**
     * Looks at a photo; `null` where it is too small to tell.
     *
     * @param crop whether crops are judged too, a run of the network each; else the photo is only levelled.
     * @param progress told boxes judged and boxes in all; what it throws ends the work.
     * @throws RunnerException if the network fails.
     */
    fun compose(pixels: Pixels, crop: Boolean, progress: (Int, Int) -> Unit = { _, _ -> }): Composed? {
        if (!isLargeEnough(pixels)) return null
        val working = working(pixels)
        val tilt = tiltOf(working)
        val turn = tilt.turn
        val canvas = Turn.inscribedBox(pixels.width, pixels.height, turn)
        val levelled = Composed(tilt, turn, canvas.takeIf { turn != 0.0 }, cropped = false)
        if (!crop) return levelled
        val level = Turn.cut(working, Turn.inscribedBox(working.width, working.height, turn), turn)
        val best = best(level, progress) ?: return levelled
        val salience = Salience.of(level)
        val (before, after) = listOf(CropBox(0, 0, level.width, level.height), best).map { salience.facts(level.width, level.height, it) }
        return levelled.copy(box = placed(best, level, canvas), cropped = true, reasons = Reason.of(before, after))
    }

    private fun isLargeEnough(pixels: Pixels) = min(pixels.width, pixels.height) >= LEAST_PHOTO_PX

    private fun tiltOf(working: Pixels): TiltOpinion {
        val said = run(working, null)
        val (degrees, confidence) = listOf("tilt", "confidence").map { said.getValue(it)[0].toDouble() }
        if (!degrees.isFinite() || !confidence.isFinite()) return TiltOpinion(0.0, 0.0)
        return TiltOpinion(degrees, confidence.coerceIn(0.0, 1.0))
    }

    /** The crop that is worth it, in pixels of the levelled working copy; `null` where the original stays. */
    private fun best(level: Pixels, progress: (Int, Int) -> Unit): CropBox? {
        val candidates = CropProposal.of(level.width, level.height)
        val scores = candidates.withIndex().associate { (n, candidate) ->
            candidate.box to run(level, candidate.box).getValue("score")[0].toDouble().also { progress(n + 1, candidates.size) }
        }
        val worth = candidates.map { candidate ->
            val lost = 1 - candidate.box.width.toDouble() * candidate.box.height / (level.width.toDouble() * level.height)
            scores.getValue(candidate.box) - scores.getValue(candidate.reference) - COST_OF_AREA * lost
        }
        val first = worth.indices.maxBy { worth[it] }
        return candidates[first].box.takeIf { worth[first] >= CROP_MARGIN }
    }

    private fun run(pixels: Pixels, box: CropBox?): Map<String, FloatArray> {
        val (view, inside) = letterboxed(pixels, box)
        return network.run(mapOf("view" to view, "inside" to inside))
    }

    /** Scales a box of the small levelled photo to the full-size canvas, inside what the turn leaves of it. */
    private fun placed(box: CropBox, level: Pixels, canvas: CropBox): CropBox {
        val (across, down) = canvas.width.toDouble() / level.width to canvas.height.toDouble() / level.height
        val (left, top) = canvas.left + rounded(box.left * across) to canvas.top + rounded(box.top * down)
        val (right, bottom) = canvas.left + rounded(box.right * across) to canvas.top + rounded(box.bottom * down)
        return CropBox(left, top, max(right, left + 1), max(bottom, top + 1))
    }

    companion object {
        private const val REDUCING_GAP = 3.0

        /** Reduces a photo to [WORKING_PX] on its longer side, never enlarged. */
        fun working(pixels: Pixels): Pixels {
            val share = min(1.0, WORKING_PX / max(pixels.width, pixels.height).toDouble())
            val (width, height) = listOf(pixels.width, pixels.height).map { max(1, rounded(it * share)) }
            return Resampler(Resampling.BILINEAR).reduced(pixels, width, height, REDUCING_GAP)
        }

        /**
         * Fits a picture, or a box of it, into the network's square view.
         *
         * @return the view, gray where the picture is not, and where it is, as ones and zeros.
         */
        fun letterboxed(pixels: Pixels, box: CropBox?): Pair<FloatArray, FloatArray> {
            val shown = box ?: CropBox(0, 0, pixels.width, pixels.height)
            val share = VIEW_PX / max(shown.width, shown.height).toDouble()
            val (width, height) = listOf(shown.width, shown.height).map { max(1, rounded(it * share)) }
            val small = Resampler(Resampling.BILINEAR).resized(
                pixels, width, height,
                Resampler.Span(shown.left.toDouble(), shown.right.toDouble()), Resampler.Span(shown.top.toDouble(), shown.bottom.toDouble()),
            )
            val (left, top) = (VIEW_PX - width) / 2 to (VIEW_PX - height) / 2
            val size = VIEW_PX * VIEW_PX
            val view = FloatArray(3 * size) { LETTERBOX.toFloat() }
            val inside = FloatArray(size)
            for (y in 0 until height) {
                for (x in 0 until width) {
                    val at = (top + y) * VIEW_PX + left + x
                    inside[at] = 1f
                    for (channel in 0 until 3) view[channel * size + at] = small.level(y, x, channel) / 255f
                }
            }
            return view to inside
        }
    }
}
