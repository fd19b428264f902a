package org.pocketcrafter.core.latent

import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.photo.Developer
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.photo.Planes
import org.pocketcrafter.core.photo.Resampler
import org.pocketcrafter.core.photo.Resampling
import java.util.Locale
import kotlin.math.log10
import kotlin.math.max

/**
 * A photo with what colors carry over of an edit.
 *
 * @property errorDb how far they miss the edit at this strength, PSNR in decibels; infinite where they do not.
 * @property notes what to say of it.
 */
class Carried(val pixels: Pixels, val errorDb: Double, val notes: List<String>) {
    companion object {
        /**
         * Carries an edit over as colors: a grid of affine transforms, by place and luma.
         *
         * To a photo of the artist's own size, what the edit changed is added pixel by pixel.
         *
         * @param pixels at any size.
         * @param change what the artist did to the small picture.
         * @param strength factor on the edit.
         */
        fun of(pixels: Pixels, change: Change, strength: Double): Carried {
            val (before, after) = change.before to change.after
            if (pixels.height == after.height && pixels.width == after.width) {
                val added = after.with(before) { new, old -> new - old }
                return Carried(NativeEdit.added(Pictures.unit(pixels), added, strength), Double.POSITIVE_INFINITY, emptyList())
            }
            val transfer = Transfer.fit(before, after)
            val developed = Developer.develop(pixels, EditPlan(), transfer.grid.blended(strength))
            val note = "of the edit at ${before.width}×${before.height} px, ${"%.1f".format(Locale.ROOT, transfer.errorDb)} dB are carried over."
            val error = if (strength == 0.0) Double.POSITIVE_INFINITY else transfer.errorDb - 20 * log10(strength)
            return Carried(developed, error, listOf(note))
        }
    }
}

/** An artist on a photo's own pixels, in tiles. */
class NativeEdit(private val artist: LatentArtist) {
    private val side = artist.settings.side

    /** In how many tiles the artist edits a photo's own pixels; 0 where these are no more than it sees anyway. */
    fun tiles(pixels: Pixels): Int {
        if (max(pixels.height, pixels.width) <= side) return 0
        val (rows, columns) = listOf(pixels.height, pixels.width).map { (max(side, it) + artist.factor - 1) / artist.factor }
        return LatentTiles(side / artist.factor, rows, columns).places.size
    }

    /**
     * Returns a photo's own pixels, edited in tiles.
     *
     * Scaled down to the artist's size, what is changed is the edit of the whole photo: tiles, which do not see the
     * whole, add details alone.
     *
     * @param change what the artist did to the whole photo.
     * @param hidden as for [LatentArtist.change].
     * @param strength factor on the edit.
     * @param progress as for [LatentArtist.change].
     */
    fun edited(pixels: Pixels, change: Change, hidden: FloatArray?, strength: Double, progress: (Int, Int) -> Unit): Pixels {
        val (height, width) = pixels.height to pixels.width
        val tiled = artist.change(Pictures.native(pixels, side, artist.factor), hidden, progress)
        val details = tiled.after.with(tiled.before) { new, old -> new - old }.cut(0, 0, height, width)
        val whole = change.after.with(change.before) { new, old -> new - old }
        val resampler = Resampler(Resampling.BICUBIC)
        val missing = whole.with(resampler.resized(details, side, side)) { wanted, there -> wanted - there }
        val added = details.with(resampler.resized(missing, width, height)) { detail, rest -> detail + rest }
        return added(Pictures.unit(pixels), added, strength)
    }

    internal companion object {
        /** A photo's pixels with what is added to its picture. */
        fun added(picture: Planes, added: Planes, strength: Double): Pixels = Pictures.levels(
            picture.with(added) { own, more ->
                val made = (own + more).coerceIn(0f, 1f)
                (own + strength.toFloat() * (made - own)).coerceIn(0f, 1f)
            },
        )
    }
}
