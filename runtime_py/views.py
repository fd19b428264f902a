"""What the networks see of a photo: the whole of it, small, and a few crops at native resolution."""

from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.pocket import CROP_PX, VIEW_PX

_ALIGN_PX: Final = 8
_QUADRANTS: Final = ((0, 0), (0, 1), (1, 0), (1, 1))


def global_view(pixels: PixelArray) -> FloatArray:
    """Resize the whole photo to the networks' view; each cell is the exact mean of the area it covers.

    Parameters
    ----------
    pixels
        Shape ``(H, W, 3)``, uint8 or uint16, any size from 1×1 on.

    Returns
    -------
    FloatArray
        Shape ``(1, 3, VIEW_PX, VIEW_PX)`` in [0, 1]; the aspect is not kept. A 512×512 photo gives its 2×2 means,
        which is what training sees.
    """
    rows = _area_mean(pixels, VIEW_PX)
    cells = _area_mean(np.ascontiguousarray(rows.transpose(1, 0, 2)), VIEW_PX)
    view = cells.transpose(2, 1, 0)[None] / np.float32(np.iinfo(pixels.dtype).max)
    return np.ascontiguousarray(np.clip(view, 0.0, 1.0), dtype=np.float32)


def native_crops(pixels: PixelArray) -> FloatArray:
    """Cut the detail crops out of the photo, unscaled; photos under `CROP_PX` are extended by reflection.

    Parameters
    ----------
    pixels
        Shape ``(H, W, 3)``, uint8 or uint16.

    Returns
    -------
    FloatArray
        Shape ``(CROPS, 3, CROP_PX, CROP_PX)`` in [0, 1], in the order of `crop_origins`.
    """
    height, width, _ = pixels.shape
    corners = crop_origins(height, width)
    crops = np.stack([pixels[top : top + CROP_PX, left : left + CROP_PX] for top, left in corners])
    missing = [(0, CROP_PX - side) for side in crops.shape[1:3]]
    extended = np.pad(crops, ((0, 0), *missing, (0, 0)), mode="reflect")
    scale = np.float32(np.iinfo(pixels.dtype).max)
    return np.ascontiguousarray(extended.transpose(0, 3, 1, 2).astype(np.float32) / scale)


def crop_origins(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Place the detail crops: one at the center of each quadrant, on the 8 px lattice of JPEG blocks.

    Parameters
    ----------
    height, width
        Size of the photo in pixels.

    Returns
    -------
    tuple of (top, left)
        `CROPS` corners, row by row; multiples of 8. Crops of small photos overlap; where a side is under `CROP_PX`
        its corner is 0.
    """
    tops, lefts = (_corners(side) for side in (height, width))
    return tuple((tops[row], lefts[column]) for row, column in _QUADRANTS)


def _corners(side: int) -> tuple[int, int]:
    last = max(0, side - CROP_PX)
    near, far = (
        min(max(0, center - CROP_PX // 2), last) // _ALIGN_PX * _ALIGN_PX for center in (side // 4, 3 * side // 4)
    )
    return near, far


def _area_mean(values: PixelArray | FloatArray, cells: int) -> FloatArray:
    """Mean of each of ``cells`` equal parts along axis 0, parts of samples counted by their share."""
    length = len(values)
    edges = np.arange(cells + 1) * length / cells
    whole = np.minimum(edges.astype(np.int64), length - 1)
    share = (edges - whole).astype(np.float32)
    out = np.empty((cells, *values.shape[1:]), dtype=np.float32)
    # Sums of integers stay exact in uint64 for any photo, and in uint32 for any that is not a sliver.
    exact = np.uint32 if (length // cells + 2) < 65536 else np.uint64
    dtype = exact if np.issubdtype(values.dtype, np.integer) else np.float32
    for cell in range(cells):
        first, last = whole[cell], whole[cell + 1]
        total = values[first:last].sum(axis=0, dtype=dtype).astype(np.float32)
        out[cell] = total + share[cell + 1] * values[last] - share[cell] * values[first]
    out *= np.float32(cells / length)
    return out
