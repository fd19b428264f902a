"""Carries an edit that was made at a small size to a photo's own pixels: a bilateral grid, fitted in closed form."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.arrays import AnyFloatArray, FloatArray
from pocketcrafter.runtime.errors import ShapeMismatchError
from pocketcrafter.runtime.grid import IDENTITY, slice_exact
from pocketcrafter.runtime.pocket import GRID

_COEFFICIENTS, _BINS, _ROWS, _COLUMNS = GRID
_CELLS: Final = _BINS * _ROWS * _COLUMNS
_TERMS: Final = 4
"""Red, green, blue and one."""
_WIDER: Final = ((0.05, 1), (0.002, 3))
"""What the pixels around a cell add to its own: their share, and over how many cells they are averaged."""
_MOST_PX: Final = 512
"""Side of what is fitted; of larger pictures, every second or third pixel tells as much."""
_RIDGE: Final = 1e-5
"""Pull towards identity, as a share of a photo's pixels in a cell: what no pixel decides stays as it is."""


@dataclass(frozen=True)
class Transfer:
    """A fitted grid.

    Attributes
    ----------
    grid
        Of shape `GRID`; applied to the small picture before the edit, it gives about the one after.
    error_db
        How far it misses that, PSNR of pictures in [0, 1] in decibels; ``inf`` where it does not.
    """

    grid: FloatArray
    error_db: float


def fit_transfer(before: FloatArray, after: FloatArray) -> Transfer:
    """Fit a grid of affine color transforms to what an edit did.

    Each cell has the least-squares affine transform of the pixels around it in place and luma, each weighted as slicing
    weights the cell. Where few pixels are, more distant ones decide; where none are, nothing changes.

    Parameters
    ----------
    before, after
        One picture, before and after the edit, in [0, 1], ``(H, W, 3)`` float32.

    Raises
    ------
    ShapeMismatchError
        If the two are not of one shape.
    """
    if before.shape != after.shape or before.ndim != 3:
        raise ShapeMismatchError(f"An edit has one size before and after; here {before.shape} and {after.shape}.")
    step = -(-max(before.shape[:2]) // _MOST_PX)
    before, after = before[::step, ::step], after[::step, ::step]
    moments = _moments(before, after)
    wide = moments + sum(share * _averaged(moments, reach) for share, reach in _WIDER)
    everywhere = moments.sum((0, 1, 2)) / before[..., 0].size
    flat = (wide + 1e-6 * everywhere).reshape(_CELLS, _TERMS, _TERMS + 3)
    pull = _RIDGE * np.maximum(flat[:, 3, 3], 1e-3)[:, None, None]
    identity = np.eye(_TERMS, 3)
    normal, right = flat[:, :, :_TERMS] + pull * np.eye(_TERMS), flat[:, :, _TERMS:] + pull * identity
    solved = np.linalg.solve(normal, right).transpose(2, 1, 0)
    grid = np.ascontiguousarray(solved.reshape(IDENTITY.shape), np.float32)
    missed = np.clip(slice_exact(grid, before), 0, 1) - after
    power = float(np.mean(np.square(missed, dtype=np.float64)))
    return Transfer(grid, float("inf") if power == 0 else -10 * float(np.log10(power)))


def _moments(before: FloatArray, after: FloatArray) -> AnyFloatArray:
    """Return each cell's weighted sums of products: of the terms with each other, and with what they became.

    A pixel's weight in a cell is a product of tents over luma, row and column. Pixels between the same rows and columns
    of cells have the same four cells in each bin: their sums are one product of matrices.
    """
    firsts, seconds = np.triu_indices(_TERMS, 0, _TERMS + 3)
    total = np.zeros((_BINS, _ROWS, _COLUMNS, _TERMS, _TERMS + 3))
    down, across = _between(before.shape[0], _ROWS), _between(before.shape[1], _COLUMNS)
    for row, (rows, lower) in enumerate(down):
        for column, (columns, left) in enumerate(across):
            wide = before[rows, columns].reshape(-1, 3).astype(np.float64)
            both = np.concatenate([wide, np.ones((len(wide), 1)), after[rows, columns].reshape(-1, 3)], 1).T
            corners = np.einsum("ya,xb->yxab", lower, left).reshape(len(wide), 1, 4)
            luma = np.clip(wide @ np.array(tm.LUMA), 0, 1) * (_BINS - 1)
            bins = np.clip(1 - np.abs(luma[:, None] - np.arange(_BINS)), 0, None)[:, :, None]
            sums = (both[firsts] * both[seconds]) @ (bins * corners).reshape(len(wide), -1)
            found = sums.T.reshape(_BINS, 2, 2, len(firsts))
            total[:, row : row + 2, column : column + 2, firsts, seconds] += found
    inner = seconds < _TERMS
    total[..., seconds[inner], firsts[inner]] = total[..., firsts[inner], seconds[inner]]
    return total


def _between(pixels: int, cells: int) -> list[tuple[slice, AnyFloatArray]]:
    """Return the pixels between each two neighbouring cells along a side, and their weights in both."""
    places = (np.arange(pixels) + 0.5) / pixels * (cells - 1)
    edges = np.searchsorted(places, np.arange(cells))
    spans = [slice(start, stop) for start, stop in pairwise(edges.tolist())]
    return [(span, np.stack([1 - (places[span] - index), places[span] - index], 1)) for index, span in enumerate(spans)]


def _averaged(values: AnyFloatArray, reach: int) -> AnyFloatArray:
    """Return the mean of the cells around each, ``2·reach + 1`` along each of the first three axes."""
    for axis in range(3):
        padded = np.pad(values, [(reach, reach) if a == axis else (0, 0) for a in range(values.ndim)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis)
        values = windows.mean(-1)
    return values
