"""Carries an edit that was made at a small size to a photo's own pixels: a bilateral grid, fitted in closed form."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ShapeMismatchError
from pocketcrafter.runtime.grid import IDENTITY, slice_exact
from pocketcrafter.runtime.pocket import GRID

_COEFFICIENTS, _BINS, _ROWS, _COLUMNS = GRID
_CELLS: Final = _BINS * _ROWS * _COLUMNS
_TERMS: Final = 4
"""Red, green, blue and one."""
_WIDER: Final = ((0.05, 1), (0.002, 3))
"""What the pixels around a cell add to its own: their share, and over how many cells they are averaged."""
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
    moments = _moments(before, after).reshape(_BINS, _ROWS, _COLUMNS, _TERMS, _TERMS + 3)
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


def _moments(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return each cell's weighted sums of products: of the terms with each other, and with what they became."""
    height, width, _ = before.shape
    flat = before.reshape(-1, 3).astype(np.float64)
    terms = np.concatenate([flat, np.ones((len(flat), 1))], 1)
    both = np.concatenate([terms, after.reshape(-1, 3).astype(np.float64)], 1)
    products = (terms[:, :, None] * both[:, None]).reshape(len(flat), -1)
    places = [
        _around(np.clip(flat @ np.array(tm.LUMA), 0, 1) * (_BINS - 1), _BINS),
        _around(np.repeat((np.arange(height) + 0.5) / height * (_ROWS - 1), width), _ROWS),
        _around(np.tile((np.arange(width) + 0.5) / width * (_COLUMNS - 1), height), _COLUMNS),
    ]
    total = np.zeros((_CELLS, products.shape[1]))
    for corner in range(1 << len(places)):
        cell, weight = np.zeros(len(flat), np.intp), np.ones(len(flat))
        for axis, (lower, share) in enumerate(places):
            upper = corner >> axis & 1
            cell = cell * (_BINS, _ROWS, _COLUMNS)[axis] + lower + upper
            weight = weight * (share if upper else 1 - share)
        for column in range(products.shape[1]):
            total[:, column] += np.bincount(cell, weight * products[:, column], _CELLS)
    return total


def _around(coordinate: FloatArray, cells: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.intp]], FloatArray]:
    lower = np.minimum(coordinate.astype(np.intp), cells - 2)
    return lower, coordinate - lower


def _averaged(values: FloatArray, reach: int) -> FloatArray:
    """Return the mean of the cells around each, ``2·reach + 1`` along each of the first three axes."""
    for axis in range(3):
        padded = np.pad(values, [(reach, reach) if a == axis else (0, 0) for a in range(values.ndim)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis)
        values = windows.mean(-1)
    return values
