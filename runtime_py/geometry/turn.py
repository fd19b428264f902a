"""Levelling and cropping in one resampling, at full resolution.

The *levelled canvas* has the size of the photo and shares its center; the photo lies on it turned clockwise. Crop boxes
are in its pixels, so that without a turn they are in those of the photo. What the composition network is shown of a
photo or a box, small and with its aspect kept, is cut here too.
"""

import math
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.errors import ShapeMismatchError
from pocketcrafter.runtime.photo.color import handling_of, pixels_to_srgb, to_eight_bits
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import CropBox
from pocketcrafter.runtime.pocket import VIEW_PX

Point = tuple[float, float]

_Pixels = TypeVar("_Pixels", npt.NDArray[np.uint8], npt.NDArray[np.uint16], PixelArray)
WORKING_PX: Final = 768
"""Longer side of the copy that boxes are cut from: a box of a third of it still fills a view."""
LETTERBOX: Final = 0.5


def inscribed_box(width: int, height: int, degrees: float) -> CropBox:
    """Return the largest box of the photo's aspect, around its center, that a turn leaves without empty corners.

    Of a sliver less than a pixel may be left; one or two are kept all the same.

    Parameters
    ----------
    width, height
        Size of the photo, ≥ 1 px.
    degrees
        Turn, in either direction, under 90° in size.
    """
    if degrees == 0:
        return CropBox(left=0, top=0, right=width, bottom=height)
    sine, cosine = abs(math.sin(math.radians(degrees))), math.cos(math.radians(degrees))
    share = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    # Rounded inwards by whole pixels on both sides, so that the box stays centered.
    across, down = (min(math.ceil((1 - share) * side / 2), (side - 1) // 2) for side in (width, height))
    return CropBox(left=across, top=down, right=width - across, bottom=height - down)


def to_source(point: Point, width: int, height: int, degrees: float) -> Point:
    """Map a point ``(x, y)`` of the levelled canvas to the photo; pixel centers are at halves.

    Parameters
    ----------
    point
        On the levelled canvas, in pixels.
    width, height
        The photo's sides in pixels.
    degrees
        How far the photo is turned clockwise.
    """
    angle = math.radians(degrees)
    x, y = point[0] - width / 2, point[1] - height / 2
    return (
        math.cos(angle) * x + math.sin(angle) * y + width / 2,
        -math.sin(angle) * x + math.cos(angle) * y + height / 2,
    )


def corners_in_source(box: CropBox, width: int, height: int, degrees: float) -> tuple[Point, Point, Point, Point]:
    """Return where a box's corners lie on the photo: top left, top right, bottom right, bottom left.

    Parameters
    ----------
    box
        On the levelled canvas, in pixels.
    width, height
        The photo's sides in pixels.
    degrees
        How far the photo is turned clockwise.
    """
    corners = ((box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom))
    first, second, third, fourth = (to_source(corner, width, height, degrees) for corner in corners)
    return first, second, third, fourth


def cut(pixels: _Pixels, box: CropBox, degrees: float = 0.0) -> _Pixels:
    """Turn a photo clockwise and keep a box of the levelled canvas; bicubic, and exact where nothing is turned.

    Parameters
    ----------
    pixels
        Shape ``(H, W)`` or ``(H, W, C)``, uint8 or uint16.
    box
        What is kept, in pixels of the levelled canvas.
    degrees
        Clockwise turn.

    Returns
    -------
    PixelArray
        Shape ``(box height, box width)`` or ``(box height, box width, C)``, the dtype of ``pixels``. Places of the box
        that lie outside the photo are 0; :func:`inscribed_box` has none.

    Raises
    ------
    ShapeMismatchError
        If the box is empty or reaches over the canvas.
    """
    height, width = pixels.shape[:2]
    if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
        raise ShapeMismatchError(
            f"The crop box ({box.left}, {box.top})-({box.right}, {box.bottom}) does not lie in {width}×{height} px."
        )
    if degrees == 0:
        kept: _Pixels = pixels[box.top : box.bottom, box.left : box.right].copy()
        return kept
    if pixels.dtype == np.uint8:
        turned = np.asarray(_transformed(Image.fromarray(pixels), box, degrees))
    else:
        # Pillow holds no 16-bit colors: channel by channel, in float32.
        top_level = np.iinfo(pixels.dtype).max
        planes = pixels.reshape(height, width, -1)
        turned = np.empty((box.bottom - box.top, box.right - box.left, planes.shape[2]), dtype=np.uint16)
        for channel in range(planes.shape[2]):
            image = Image.fromarray(planes[..., channel].astype(np.float32))
            turned[..., channel] = np.clip(np.rint(np.asarray(_transformed(image, box, degrees))), 0, top_level)
    result: _Pixels = turned.reshape(*turned.shape[:2], *pixels.shape[2:])
    return result


def _transformed(image: Image.Image, box: CropBox, degrees: float) -> Image.Image:
    """Resample a Pillow picture; its affine coefficients take centers of the result to those of the source."""
    origin, right, down = (
        to_source(point, image.width, image.height, degrees)
        for point in ((box.left, box.top), (box.left + 1, box.top), (box.left, box.top + 1))
    )
    rows = [(right[axis] - origin[axis], down[axis] - origin[axis], origin[axis]) for axis in (0, 1)]
    size = (box.right - box.left, box.bottom - box.top)
    return image.transform(size, Image.Transform.AFFINE, (*rows[0], *rows[1]), Image.Resampling.BICUBIC)


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
