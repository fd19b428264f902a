"""From an edit of a small picture to the photo's own pixels: as colors, or by the artist itself in tiles."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.develop import develop
from pocketcrafter.runtime.grid import blended
from pocketcrafter.runtime.latent.artist import LatentArtist
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


def carry(photo: Photo, before: FloatArray, after: FloatArray, strength: float, threads: int) -> Carried:
    """Carry an edit over as colors: a grid of affine transforms, by place and luma.

    Parameters
    ----------
    photo
        At any size.
    before, after
        The artist's small picture and its edit, sRGB in [0, 1], ``(side, side, 3)``.
    strength
        Factor on the edit. At 1, a photo of the artist's own size becomes the artist's very picture.
    threads
        Threads to use, ≥ 1.
    """
    if strength == 1 and photo.pixels.shape == after.shape and photo.icc is None:
        return Carried(_levels(after, photo.pixels), math.inf, ())
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
    after: FloatArray,
    hidden: FloatArray | None,
    strength: float,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> PixelArray:
    """Return a photo's own pixels, edited in tiles.

    Scaled down to the artist's size, the result is the edit of the whole photo: tiles, which do not see the whole, add
    details alone.

    Parameters
    ----------
    photo
        With more pixels than the artist's picture.
    artist
        What edits it.
    after
        Its edit of the whole photo, sRGB in [0, 1], ``(side, side, 3)``.
    hidden, progress
        As for :meth:`pocketcrafter.runtime.latent.artist.LatentArtist.edit`.
    strength
        Factor on the edit.

    Raises
    ------
    BackendError
        If a network fails, or gives a picture that is not finite.
    """
    side, (height, width) = after.shape[0], photo.pixels.shape[:2]
    picture = native_picture(photo, side, artist.factor)
    made = artist.edit(picture, hidden, progress)[:height, :width]
    made = np.clip(made + resized(after - resized(made, side, side), height, width), 0, 1)
    before = picture[:height, :width]
    if photo.icc is not None:
        made, before = (srgb_to_profile(values, photo.icc) for values in (made, before))
    own = photo.pixels.astype(np.float32) / np.float32(np.iinfo(photo.pixels.dtype).max)
    return _levels(np.clip(own + np.float32(strength) * (made - before), 0, 1), photo.pixels)


def _levels(unit: FloatArray, like: PixelArray) -> PixelArray:
    levels = np.rint(unit * np.iinfo(like.dtype).max)
    return levels.astype(np.uint8) if like.dtype == np.uint8 else levels.astype(np.uint16)
