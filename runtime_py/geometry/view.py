"""What the composition network is shown: the photo, or a box of it, small and with its aspect kept."""

from typing import Final

import numpy as np
from PIL import Image

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.photo.color import handling_of, pixels_to_srgb, to_eight_bits
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import CropBox
from pocketcrafter.runtime.pocket import VIEW_PX

WORKING_PX: Final = 768
"""Longer side of the copy that boxes are cut from: a box of a third of it still fills a view."""
LETTERBOX: Final = 0.5


def working_copy(photo: Photo) -> PixelArray:
    """Reduce a photo to `WORKING_PX` on its longer side, never enlarged: sRGB, uint8, ``(h, w, 3)``."""
    image = Image.fromarray(np.asarray(to_eight_bits(photo.pixels)))
    share = min(1.0, WORKING_PX / max(image.size))
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    small = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))
    if photo.icc is not None and handling_of(photo.icc) != "srgb":
        small = pixels_to_srgb(small, photo.icc)
    return small


def letterboxed(pixels: PixelArray, box: CropBox | None = None) -> tuple[FloatArray, FloatArray]:
    """Fit a picture, or a box of it, into the network's square view; antialiased.

    Parameters
    ----------
    pixels
        Shape ``(H, W, 3)``, uint8, sRGB.
    box
        The part that is shown; all of it when not given.

    Returns
    -------
    tuple of FloatArray
        The view, ``(1, 3, VIEW_PX, VIEW_PX)`` in [0, 1], `LETTERBOX` where the picture is not; and where it is: ones
        and zeros, ``(1, 1, VIEW_PX, VIEW_PX)``.
    """
    height, width = pixels.shape[:2]
    box = box or CropBox(left=0, top=0, right=width, bottom=height)
    across, down = box.right - box.left, box.bottom - box.top
    share = VIEW_PX / max(across, down)
    size = (max(1, round(across * share)), max(1, round(down * share)))
    edges = (box.left, box.top, box.right, box.bottom)
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box=edges))
    left, top = (VIEW_PX - size[0]) // 2, (VIEW_PX - size[1]) // 2
    rows, columns = slice(top, top + size[1]), slice(left, left + size[0])
    view = np.full((1, 3, VIEW_PX, VIEW_PX), LETTERBOX, dtype=np.float32)
    view[0, :, rows, columns] = small.transpose(2, 0, 1) / np.float32(255)
    inside = np.zeros((1, 1, VIEW_PX, VIEW_PX), dtype=np.float32)
    inside[..., rows, columns] = 1
    return view, inside
