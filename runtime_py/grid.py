"""Slicing the bilateral grid: an affine transform of color for every pixel, looked up by place and luma.

Bin k stands at luma k/7 and cell i at i/15 of the photo's side, so that the outer bins and cells lie on its edges:
pixel x of W reads coordinate ``15·(x + 0.5)/W``.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np

from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import BackendError, ShapeMismatchError
from pocketcrafter.runtime.pocket import GRID

_COEFFICIENTS, _BINS, _ROWS, _COLUMNS = GRID
_MAX_STEP: Final = 16
_LEAST_ROW_STEP: Final = 4
"""Below this, interpolating a table for each row of blocks costs more than evaluating two."""
_Place = np.ndarray[tuple[int, ...], np.dtype[np.intp]]
IDENTITY: Final = np.tile(np.eye(3, 4, dtype=np.float32).reshape(-1, 1, 1, 1), (1, _BINS, _ROWS, _COLUMNS))
"""The grid that changes nothing, shape `GRID`."""


def blended(grid: FloatArray, strength: float) -> FloatArray:
    """Scale a grid's departure from identity.

    Raises
    ------
    ShapeMismatchError
        If the grid is not of shape `GRID`.
    BackendError
        If it holds a value that is not finite.
    """
    if grid.shape != GRID:
        raise ShapeMismatchError(f"A bilateral grid has shape {GRID}, not {grid.shape}.")
    if not np.isfinite(grid).all():
        raise BackendError("The tone network gave a grid with values that are not finite; try another --backend.")
    scaled: FloatArray = (IDENTITY + strength * (grid - IDENTITY)).astype(np.float32)
    return scaled


def slice_exact(grid: FloatArray, rgb: FloatArray) -> FloatArray:
    """Apply a grid with full trilinear interpolation at every pixel: the reference that the fast path is held to.

    Parameters
    ----------
    grid
        Shape `GRID`, float32.
    rgb
        Rendered picture in [0, 1], shape ``(H, W, 3)``, float32.

    Returns
    -------
    FloatArray
        Shape ``(H, W, 3)``, float32, not clipped.
    """
    height, width, _ = rgb.shape
    luma = np.clip(rgb @ np.array(tm.LUMA, dtype=np.float32), 0.0, 1.0) * np.float32(_BINS - 1)
    y0, fy = _split(_coordinates(height, _ROWS), _ROWS)
    x0, fx = _split(_coordinates(width, _COLUMNS), _COLUMNS)
    k0, fk = _split(luma, _BINS)
    y0, fy = y0[:, None], fy[:, None]
    affine = np.zeros((_COEFFICIENTS, height, width), dtype=np.float32)
    for k, wk in ((k0, 1 - fk), (k0 + 1, fk)):
        for y, wy in ((y0, 1 - fy), (y0 + 1, fy)):
            for x, wx in ((x0, 1 - fx), (x0 + 1, fx)):
                affine += (wk * wy * wx) * grid[:, k, y, x]
    matrix = affine.reshape(3, 4, height, width)
    sliced: FloatArray = np.einsum("cjhw,hwj->hwc", matrix[:, :3], rgb) + matrix[:, 3].transpose(1, 2, 0)
    return sliced


@dataclass(frozen=True)
class GridSlicer:
    """A grid prepared for one photo size, applied to a few rows at a time.

    Place is rounded to blocks of pixels, as large as the grid's slope allows before any channel is off by more than the
    tolerance; luma is interpolated at every pixel. Where the grid is too steep for blocks of a few rows, it is
    evaluated at the two grid rows around a strip, and each row of pixels is interpolated between them exactly.
    """

    _row_step: int
    """Rows of pixels that share one place; 1 where each row has its own."""
    _column_step: int
    _tables: FloatArray
    """For each grid row: offset and slope in luma of each coefficient, bin interval and block column, as
    ``(_ROWS, 2, 3, 4, (_BINS - 1)·blocks)``."""
    _rows: FloatArray
    """Grid row of each row of blocks."""
    _width: int

    @classmethod
    def prepare(cls, grid: FloatArray, height: int, width: int, tolerance: float) -> Self:
        """Prepare a grid of shape `GRID` for a photo; ``tolerance`` is the largest error of a channel in [0, 1].

        Parameters
        ----------
        grid
            Float32, shape `GRID`.
        height, width
            The photo's sides in pixels.
        tolerance
            Largest error of a channel that coarser steps of interpolation may cause, in [0, 1].
        """
        slopes = np.diff(grid, axis=1)
        offsets = grid[:, :-1] - np.arange(_BINS - 1, dtype=np.float32)[:, None, None] * slopes
        row_step = _step(grid, 2, height, tolerance / 2)
        row_step = row_step if row_step >= _LEAST_ROW_STEP else 1
        column_step = _step(grid, 3, width, tolerance / 2)
        x0, fx = _split(_coordinates(width, _COLUMNS, column_step), _COLUMNS)
        weights = np.zeros((_COLUMNS, len(x0)), dtype=np.float32)
        weights[x0, np.arange(len(x0))] = 1 - fx
        weights[x0 + 1, np.arange(len(x0))] = fx
        tables = np.stack([offsets, slopes]).transpose(3, 0, 1, 2, 4).astype(np.float32) @ weights
        return cls(
            _row_step=row_step,
            _column_step=column_step,
            _tables=tables.reshape(_ROWS, 2, 3, 4, -1),
            _rows=_coordinates(height, _ROWS, row_step),
            _width=width,
        )

    def strips(self, height: int) -> list[slice]:
        """Divide a photo's rows into the strips that `apply` takes."""
        if self._row_step > 1:
            return [slice(top, min(top + self._row_step, height)) for top in range(0, height, self._row_step)]
        # Each strip lies between two grid rows.
        between, _ = _split(self._rows, _ROWS)
        edges = [0, *(np.flatnonzero(np.diff(between)) + 1), height]
        return [
            slice(top, min(top + _MAX_STEP, bottom))
            for first, bottom in pairwise(edges)
            for top in range(first, bottom, _MAX_STEP)
        ]

    def apply(self, red: FloatArray, green: FloatArray, blue: FloatArray, rows: slice) -> tuple[FloatArray, ...]:
        """Apply the grid to one strip.

        Parameters
        ----------
        red, green, blue
            Rendered channels in [0, 1], shape ``(rows, W)``, float32.
        rows
            Where they lie in the photo: one of `strips`.

        Returns
        -------
        tuple
            The three channels of the result, each of the inputs' shape, float32, not clipped.
        """
        luma = luma_of(red, green, blue)
        luma *= np.float32(_BINS - 1)
        place = np.minimum(luma, np.float32(_BINS - 2)).astype(np.intp)
        place *= self._tables.shape[-1] // (_BINS - 1)
        place += np.arange(self._width) // self._column_step
        factors = ((red, green, blue, None), (luma * red, luma * green, luma * blue, luma))

        first = rows.start // self._row_step
        if self._row_step > 1:
            above, below = _split(self._rows[first : first + 1], _ROWS)
            table = (1 - below) * self._tables[above[0]]
            table += below * self._tables[above[0] + 1]
            return _evaluated(table, place, factors)
        above, below = _split(self._rows[rows], _ROWS)
        upper = _evaluated(self._tables[above[0]], place, factors)
        lower = _evaluated(self._tables[above[0] + 1], place, factors)
        for channel, other in zip(upper, lower, strict=True):
            np.subtract(other, channel, out=other)
            np.multiply(other, below[:, None], out=other)
            np.add(channel, other, out=channel)
        return upper


def _evaluated(
    table: FloatArray, place: _Place, factors: tuple[tuple[FloatArray | None, ...], ...]
) -> tuple[FloatArray, ...]:
    """Sum the terms of each channel: coefficients looked up by place, times what they multiply (`None` for one)."""
    found = np.empty(place.shape, dtype=np.float32)
    channels = []
    for channel in range(3):
        total = np.zeros(place.shape, dtype=np.float32)
        for part, part_factors in enumerate(factors):
            for term, factor in enumerate(part_factors):
                np.take(table[part, channel, term], place, out=found, mode="clip")
                if factor is not None:
                    np.multiply(found, factor, out=found)
                np.add(total, found, out=total)
        channels.append(total)
    return tuple(channels)


def luma_of(red: FloatArray, green: FloatArray, blue: FloatArray) -> FloatArray:
    """Rec. 709 luma of three float32 channels of one shape.

    Parameters
    ----------
    red, green, blue
        Float32, of one shape; values as they are, linear or not.
    """
    luma = np.float32(tm.LUMA[0]) * red
    luma += np.float32(tm.LUMA[1]) * green
    luma += np.float32(tm.LUMA[2]) * blue
    return luma


def _coordinates(pixels: int, cells: int, step: int = 1) -> FloatArray:
    """Grid coordinates of the centers of all blocks of ``step`` pixels along a side."""
    centers = (np.arange(-(-pixels // step), dtype=np.float64) + 0.5) * step / pixels
    return np.minimum(centers * (cells - 1), cells - 1).astype(np.float32)


def _split(coordinate: FloatArray, cells: int) -> tuple[_Place, FloatArray]:
    lower = np.minimum(coordinate.astype(np.intp), cells - 2)
    return lower, (coordinate - lower).astype(np.float32)


def _step(grid: FloatArray, axis: int, pixels: int, tolerance: float) -> int:
    """Largest block side, in pixels, whose edge is within the tolerance of its center for any color."""
    changes = np.diff(grid, axis=axis)
    changes = changes.reshape(3, 4, *changes.shape[1:])
    # Colors are in [0, 1], so that terms of one sign add up at worst.
    worst = max(np.maximum(changes, 0).sum(axis=1).max(), np.maximum(-changes, 0).sum(axis=1).max())
    per_pixel = float(worst) * (grid.shape[axis] - 1) / pixels
    return int(np.clip(2 * tolerance / max(per_pixel, 1e-12), 1, _MAX_STEP))
