"""Overlapping tiles: a fixed-shape network over a photo of any size, without seams and without holding it in floats."""

from collections.abc import Callable
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.errors import BackendError, ShapeMismatchError
from pocketcrafter.runtime.pocket import TILE_PX
from pocketcrafter.runtime.progress import Progress

OVERLAP_PX: Final = 32
"""Neighboring tiles share this many pixels; the stride of 480 keeps every tile on JPEG's 8 px lattice."""

TileFunction = Callable[[FloatArray], FloatArray]


def tile_starts(length: int, tile: int = TILE_PX, overlap: int = OVERLAP_PX) -> tuple[int, ...]:
    """Return where tiles start along one side; the last may reach past the end, where the photo is reflected.

    Parameters
    ----------
    length
        The side in pixels.
    tile, overlap
        Side of a tile and what neighbours share, in pixels.
    """
    stride = tile - overlap
    return tuple(range(0, max(1, length - overlap), stride))


def feather(index: int, count: int, tile: int = TILE_PX, overlap: int = OVERLAP_PX) -> FloatArray:
    """Return the blending weight of one tile along one side, shape ``(tile,)``; weights of all tiles add up to 1.

    Parameters
    ----------
    index, count
        The tile's place along the side, and how many there are.
    tile, overlap
        Side of a tile and what neighbours share, in pixels.
    """
    weight = np.ones(tile, dtype=np.float32)
    ramp = (np.arange(overlap, dtype=np.float32) + np.float32(0.5)) / np.float32(overlap)
    if index > 0:
        weight[:overlap] = ramp
    if index < count - 1:
        weight[tile - overlap :] = 1 - ramp
    return weight


def map_tiles(
    pixels: PixelArray,
    function: TileFunction,
    *,
    tile: int = TILE_PX,
    overlap: int = OVERLAP_PX,
    progress: Progress | None = None,
) -> PixelArray:
    """Run a function over all tiles and blend its results.

    Parameters
    ----------
    pixels
        Shape ``(H, W, 3)``, uint8 or uint16, any size from 1×1 on.
    function
        Maps a tile ``(1, 3, tile, tile)`` in [0, 1] to a result of that shape; float32, clipped afterwards.
    tile, overlap
        Tile side and shared pixels; ``2·overlap ≤ tile``.
    progress
        Called with (tiles done, tiles in all) after each tile.

    Returns
    -------
    PixelArray
        Shape and dtype of ``pixels``.

    Raises
    ------
    ShapeMismatchError
        If the function returns another shape.
    BackendError
        If it returns values that are not finite.
    """
    height, width, _ = pixels.shape
    tops, lefts = tile_starts(height, tile, overlap), tile_starts(width, tile, overlap)
    level = np.float32(np.iinfo(pixels.dtype).max)
    stride = tile - overlap
    out = np.empty_like(pixels)
    # One band of tiles is held in floats; its last `overlap` rows are carried into the next.
    band = np.zeros((tile, lefts[-1] + tile, 3), dtype=np.float32)
    for row, top in enumerate(tops):
        down = feather(row, len(tops), tile, overlap)[:, None, None]
        for column, left in enumerate(lefts):
            cut = _cut(pixels, top, left, tile).astype(np.float32) / level
            result = function(np.ascontiguousarray(cut.transpose(2, 0, 1)[None]))
            _check(result, tile)
            across = feather(column, len(lefts), tile, overlap)[:, None]
            band[:, left : left + tile] += result[0].transpose(1, 2, 0) * (down * across)
            if progress is not None:
                progress(row * len(lefts) + column + 1, len(tops) * len(lefts))
        finished = min(tile if row == len(tops) - 1 else stride, height - top)
        out[top : top + finished] = np.rint(np.clip(band[:finished, :width], 0.0, 1.0) * level)
        band[:overlap] = band[stride:]
        band[overlap:] = 0
    return out


def _cut(pixels: PixelArray, top: int, left: int, tile: int) -> PixelArray:
    # Reflection without repeating the border (period 2n − 2) extends the photo to any distance.
    rows, columns = (_reflected(start, tile, side) for start, side in zip((top, left), pixels.shape[:2], strict=True))
    if top + tile <= pixels.shape[0] and left + tile <= pixels.shape[1]:
        return pixels[top : top + tile, left : left + tile]
    return pixels[rows[:, None], columns]


def _reflected(start: int, count: int, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    period = max(1, 2 * side - 2)
    index = np.arange(start, start + count) % period
    return np.minimum(index, period - index) if side > 1 else np.zeros(count, dtype=np.intp)


def _check(result: FloatArray, tile: int) -> None:
    if result.shape != (1, 3, tile, tile):
        raise ShapeMismatchError(f"A restored tile has shape (1, 3, {tile}, {tile}), not {result.shape}.")
    if not np.isfinite(result).all():
        raise BackendError("The restoration network gave values that are not finite; try another --backend.")
