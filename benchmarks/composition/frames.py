"""The measured frames: photos tilted by known angles, and pairs of crops of one size, one centered and one shifted."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box
from pocketcrafter.runtime.plan import CropBox

MAX_TILT_DEGREES: Final = 8.0
SCALE: Final = 0.85
"""Side of the compared crops as a share of the photo's: what the shifted ones lose is at most 15 % of a side."""
_BORDER: Final = 0.02
_LEAST_SHIFT: Final = 0.5


def tilted(pixels: ByteImage, count: int, rng: np.random.Generator) -> Iterator[tuple[ByteImage, float]]:
    """Yield a photo tilted by angles spread evenly over ±8°, one drawn from each of ``count`` equal parts.

    Every frame is the largest of the photo's aspect, and all are resampled alike.

    Parameters
    ----------
    pixels
        sRGB uint8 ``(H, W, 3)``.
    count
        How many frames.
    rng
        Draws the angles.

    Yields
    ------
    tuple
        The frame, and the clockwise turn in degrees that levels it again if the photo was level.
    """
    height, width = pixels.shape[:2]
    edges = np.linspace(-MAX_TILT_DEGREES, MAX_TILT_DEGREES, count + 1)
    for low, high in pairwise(edges):
        degrees = float(rng.uniform(low, high))
        yield cut(pixels, inscribed_box(width, height, degrees), -degrees), degrees


def framed(pixels: ByteImage, count: int, rng: np.random.Generator) -> tuple[ByteImage, list[ByteImage]]:
    """Cut the centered crop of a photo and ``count`` shifted ones of its size.

    None shows the outermost 2 % of the photo. A shift goes in any direction, by half to all of the room there is.

    Parameters
    ----------
    pixels
        sRGB uint8 ``(H, W, 3)``.
    count
        How many shifted crops.
    rng
        Draws directions and distances.
    """
    height, width = pixels.shape[:2]
    centered = _crop(pixels, width, height, np.zeros(2))
    shifts = []
    for _ in range(count):
        direction = rng.uniform(-1, 1, 2)
        shifts.append(direction / np.abs(direction).max() * rng.uniform(_LEAST_SHIFT, 1.0))
    return centered, [_crop(pixels, width, height, shift) for shift in shifts]


def _crop(pixels: ByteImage, width: int, height: int, shift: npt.NDArray[np.float64]) -> ByteImage:
    starts, sizes = [], []
    for side, part in zip((width, height), shift, strict=True):
        room = (1 - 2 * _BORDER) * side
        size = round(SCALE * room)
        starts.append(round(side / 2 + part * (room - size) / 2 - size / 2))
        sizes.append(size)
    box = CropBox(left=starts[0], top=starts[1], right=starts[0] + sizes[0], bottom=starts[1] + sizes[1])
    return cut(pixels, box)
