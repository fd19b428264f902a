"""CPU time of Python's arithmetic around the networks; a Kotlin test holds its own against it in the same run."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.develop import develop
from pocketcrafter.runtime.grid import IDENTITY
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.tiles import map_tiles
from pocketcrafter.runtime.views import global_view, native_crops

_RUNS: Final = 7
_PLAN: Final = EditPlan(exposure_ev=0.5, saturation=0.3, shadows=0.4)


def python_ms() -> dict[str, float]:
    """Return milliseconds of CPU time over all threads, the least of some runs, by what is done.

    Returns
    -------
    dict
        ``preview``: a plan and a tone grid on 1080×810 px; ``views``: what the critic sees of 12 MP; ``tiles``:
        1600×1200 px cut into tiles and blended, without a network.
    """
    preview, photo, tiled = _pixels(810, 1080), _pixels(3000, 4000), _pixels(1200, 1600)
    # The same from place to place, which Python develops in its largest blocks.
    grid = (IDENTITY * np.float32(1.1) + np.float32(0.02)).astype(np.float32)
    return {
        "preview": _least_ms(lambda: develop(preview, _PLAN, grid)),
        "views": _least_ms(lambda: (global_view(photo), native_crops(photo))),
        "tiles": _least_ms(lambda: map_tiles(tiled, _same)),
    }


def _pixels(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return (np.arange(3 * width * height) * 31 % 256).astype(np.uint8).reshape(height, width, 3)


def _same(tile: FloatArray) -> FloatArray:
    return tile


def _least_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_RUNS):
        started = time.process_time()
        work()
        taken.append(1e3 * (time.process_time() - started))
    return min(taken)
