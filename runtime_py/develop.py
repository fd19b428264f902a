"""The tonal part of an edit at full resolution: render, tone grid and rounding, strip by strip on all threads.

For integer pixels the analytic render is one lookup table a channel and a chroma scale, so that a strip stays in the
processor's cache from its first table to its rounded result.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.grid import GridSlicer, luma_of
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.render import channel_curves

_STRIP_PIXELS: Final = 1 << 15
_GRID_TOLERANCE: Final = {1: 0.45 / 255, 2: 0.045 / 255}
"""Largest error of the sliced grid, by bytes a sample: under half a level of 8 bits, and a tenth of that for 16."""


def develop(pixels: PixelArray, plan: EditPlan, grid: FloatArray | None, *, threads: int = 2) -> PixelArray:
    """Apply a plan's tonal attributes, and a tone grid after them.

    Parameters
    ----------
    pixels
        Shape ``(H, W, 3)``, uint8 or uint16, sRGB-encoded.
    plan
        The plan; restoration and geometry are not read.
    grid
        Bilateral grid of shape ``GRID``, float32, or `None` for the analytic render alone.
    threads
        Threads to use, ≥ 1.

    Returns
    -------
    PixelArray
        Same shape and dtype.
    """
    height, width, _ = pixels.shape
    top_level = np.iinfo(pixels.dtype).max
    curves = channel_curves(plan, np.linspace(0, 1, top_level + 1, dtype=np.float32)[:, None])
    tables = np.ascontiguousarray(curves.T)
    slicer = None
    if grid is not None:
        slicer = GridSlicer.prepare(grid, height, width, _GRID_TOLERANCE[pixels.dtype.itemsize])
    plain = max(1, _STRIP_PIXELS // width)
    strips = slicer.strips(height) if slicer else [slice(top, top + plain) for top in range(0, height, plain)]
    out = np.empty_like(pixels)
    chroma = np.float32(1 + plan.saturation)

    def work(rows: slice) -> None:
        part = pixels[rows]
        red, green, blue = (np.take(tables[c], part[..., c], mode="clip") for c in range(3))
        if chroma != 1:
            luma = luma_of(red, green, blue)
            for plane in (red, green, blue):
                np.subtract(plane, luma, out=plane)
                np.multiply(plane, chroma, out=plane)
                np.add(plane, luma, out=plane)
                np.clip(plane, 0.0, 1.0, out=plane)
        if slicer is not None:
            red, green, blue = slicer.apply(red, green, blue, rows)
        for channel, plane in enumerate((red, green, blue)):
            np.multiply(plane, np.float32(top_level), out=plane)
            np.add(plane, np.float32(0.5), out=plane)
            np.clip(plane, 0.0, np.float32(top_level), out=plane)
            out[rows, :, channel] = plane

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, strips):
            pass
    return out
