"""From an edit of a small picture to the photo's own pixels: as colors, or by the artist itself in tiles.

What is carried over is the difference between two decoded pictures, so that an edit of nothing leaves the photo as it
is, however much of it the autoencoder cannot represent.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.develop import develop
from pocketcrafter.runtime.grid import blended
from pocketcrafter.runtime.latent.artist import Change, LatentArtist
from pocketcrafter.runtime.latent.picture import native_picture, resized
from pocketcrafter.runtime.latent.tiling import Tiles
from pocketcrafter.runtime.latent.transfer import fit_transfer
from pocketcrafter.runtime.photo.color import srgb_to_profile
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import EditPlan

CARRIED_DB: Final = 30.0
"""Below this, colors leave out what people see: new content, removed noise."""


@dataclass(frozen=True)
class Carried:
    """A photo with what colors carry over of an edit.

    Attributes
    ----------
    pixels
        As the photo's.
    error_db
        How far they miss the edit at this strength, PSNR in decibels; ``inf`` where they do not.
    notes
        What to say of it, one short sentence each.
    """

    pixels: PixelArray
    error_db: float
    notes: tuple[str, ...]


def carry(photo: Photo, change: Change, strength: float, threads: int) -> Carried:
    """Carry an edit over as colors: a grid of affine transforms, by place and luma.

    To a photo of the artist's own size, what the edit changed is added pixel by pixel.

    Parameters
    ----------
    photo
        At any size.
    change
        What the artist did to the small picture, ``(side, side, 3)``.
    strength
        Factor on the edit.
    threads
        Threads to use, ≥ 1.
    """
    before, after = change.before, change.after
    if photo.pixels.shape == after.shape:
        return Carried(_added(photo, native_picture(photo, 1, 1), after - before, strength), math.inf, ())
    # In the photo's own space: what lies outside of sRGB is moved as its neighbours are, not clipped.
    own = [values if photo.icc is None else srgb_to_profile(values, photo.icc) for values in (before, after)]
    transfer = fit_transfer(own[0], own[1])
    pixels = develop(photo.pixels, EditPlan(), blended(transfer.grid, strength), threads=threads)
    note = f"of the edit at {before.shape[1]}×{before.shape[0]} px, {transfer.error_db:.1f} dB are carried over."
    return Carried(pixels, transfer.error_db - 20 * math.log10(strength) if strength else math.inf, (note,))


def tiles_of(photo: Photo, artist: LatentArtist) -> int:
    """Return in how many tiles an artist edits a photo's own pixels; 0 where these are no more than it sees anyway.

    Parameters
    ----------
    photo
        At any size.
    artist
        Whose tiles they are.
    """
    side, factor, (height, width) = artist.settings.side, artist.factor, photo.pixels.shape[:2]
    if max(height, width) <= side:
        return 0
    rows, columns = (-(-max(side, length) // factor) for length in (height, width))
    return len(Tiles(side // factor, rows, columns).places)


def edited_in_tiles(
    photo: Photo,
    artist: LatentArtist,
    change: Change,
    hidden: FloatArray | None,
    strength: float,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> PixelArray:
    """Return a photo's own pixels, edited in tiles.

    Scaled down to the artist's size, what is changed is the edit of the whole photo: tiles, which do not see the whole,
    add details alone.

    Parameters
    ----------
    photo
        With more pixels than the artist's picture.
    artist
        What edits it.
    change
        What it did to the whole photo, ``(side, side, 3)``.
    hidden, progress
        As for :meth:`pocketcrafter.runtime.latent.artist.LatentArtist.edit`.
    strength
        Factor on the edit.

    Raises
    ------
    BackendError
        If a network fails, or gives a picture that is not finite.
    """
    side, (height, width) = change.after.shape[0], photo.pixels.shape[:2]
    picture = native_picture(photo, side, artist.factor)
    tiled = artist.change(picture, hidden, progress)
    added = (tiled.after - tiled.before)[:height, :width]
    added += resized(change.after - change.before - resized(added, side, side), height, width)
    return _added(photo, picture[:height, :width], added, strength)


def _added(photo: Photo, picture: FloatArray, added: FloatArray, strength: float) -> PixelArray:
    """Return a photo's pixels with what is added to its ``picture``, the same in sRGB."""
    made = np.clip(picture + added, 0, 1)
    if photo.icc is not None:
        made, picture = (srgb_to_profile(values, photo.icc) for values in (made, picture))
    own = photo.pixels.astype(np.float32) / np.float32(np.iinfo(photo.pixels.dtype).max)
    return _levels(np.clip(own + np.float32(strength) * (made - picture), 0, 1), photo.pixels)


def _levels(unit: FloatArray, like: PixelArray) -> PixelArray:
    levels = np.rint(unit * np.iinfo(like.dtype).max)
    return levels.astype(np.uint8) if like.dtype == np.uint8 else levels.astype(np.uint16)
