package org.pocketcrafter.core.geometry

import org.pocketcrafter.core.generated.Constants.LEAST_CROP_PX
import kotlin.math.abs
import kotlin.math.min

/** A box, and the centered box of its size that it has to beat. */
data class CropProposal(val box: CropBox, val reference: CropBox) {
    companion object {
        /** Aspects of the boxes, the photo's own where `null`, and their sizes. */
        private val SCALES = listOf<Pair<Double?, List<Double>>>(
            null to listOf(0.9, 0.8, 0.7), 1.25 to listOf(1.0, 0.85), 1.0 to listOf(1.0, 0.85),
        )
        private val PLACES = listOf(0.0, 0.5, 1.0)
        private const val SAME_ASPECT = 0.03

        /** Returns the boxes of a photo, the whole of it first; no box twice, and no small one. */
        fun of(width: Int, height: Int): List<CropProposal> {
            val whole = CropBox(0, 0, width, height)
            val found = linkedMapOf(whole to CropProposal(whole, whole))
            for ((aspect, scales) in SCALES) {
                for (scale in scales) {
                    val (across, down) = size(width, height, aspect, scale) ?: continue
                    if (min(across, down) < LEAST_CROP_PX) continue
                    val boxes = PLACES.flatMap { top -> PLACES.map { left -> placed(width, height, across, down, left, top) } }
                    val reference = placed(width, height, across, down, 0.5, 0.5)
                    for (box in boxes) found.getOrPut(box) { CropProposal(box, reference) }
                }
            }
            return found.values.toList()
        }

        /** A box's size; `null` where the aspect is the photo's own under another name. */
        private fun size(width: Int, height: Int, aspect: Double?, scale: Double): Pair<Int, Int>? {
            val own = width.toDouble() / height
            val wanted = if (aspect == null) own else if (own >= 1) aspect else 1 / aspect
            if (aspect != null && abs(wanted / own - 1) < SAME_ASPECT) return null
            val across = min(width.toDouble(), height * wanted)
            return min(width, rounded(across * scale)) to min(height, rounded(across / wanted * scale))
        }

        private fun placed(width: Int, height: Int, across: Int, down: Int, left: Double, top: Double): CropBox {
            val (x, y) = rounded((width - across) * left) to rounded((height - down) * top)
            return CropBox(x, y, x + across, y + down)
        }
    }
}

/** A number, rounded half to even as Python rounds. */
internal fun rounded(value: Double): Int = Math.rint(value).toInt()
