"""Photos as the networks of the latent family see them: small, square, sRGB."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.latent.settings import PictureSettings, Resampling
from pocketcrafter.runtime.photo.color import in_srgb, to_eight_bits
from pocketcrafter.runtime.photo.model import Photo

Eight = npt.NDArray[np.uint8]
_MOST_PX: Final = 4096
"""What Idefics3's processor scales down to at most, whatever it is told."""
_FILTERS: Final = {
    Resampling.NEAREST: Image.Resampling.NEAREST,
    Resampling.BILINEAR: Image.Resampling.BILINEAR,
    Resampling.BICUBIC: Image.Resampling.BICUBIC,
    Resampling.LANCZOS: Image.Resampling.LANCZOS,
}


def critics_picture(photo: Photo, settings: PictureSettings) -> FloatArray:
    """Return what the vision encoder reads, ``(1, 3, side, side)``, normalized.

    The photo is resized twice, as transformers' processors of Idefics3 and SmolVLM do: to its longest edge with the
    aspect kept, then to the square; each time at 8 bits.

    Parameters
    ----------
    photo
        At any size.
    settings
        Of the critic's processor.
    """
    pixels = to_eight_bits(photo.pixels)
    if settings.longest_edge is not None:
        height, width = _scaled(pixels.shape[0], pixels.shape[1], settings.longest_edge)
        pixels = _resized(pixels, width, height, settings.resampling)
    pixels = in_srgb(_resized(pixels, settings.side, settings.side, settings.resampling), photo.icc)
    unit = pixels.astype(np.float32) / 255
    normalized = (unit - np.array(settings.mean, np.float32)) / np.array(settings.deviation, np.float32)
    return np.ascontiguousarray(normalized.transpose(2, 0, 1)[None], np.float32)


def artists_picture(photo: Photo, side: int) -> FloatArray:
    """Return the photo as a square: sRGB in [0, 1], ``(side, side, 3)``, aspect not kept.

    Parameters
    ----------
    photo
        At any size.
    side
        In pixels.
    """
    return _unit(in_srgb(_resized(to_eight_bits(photo.pixels), side, side, Resampling.LANCZOS), photo.icc))


def native_picture(photo: Photo, side: int, factor: int) -> FloatArray:
    """Return the photo at its own size: sRGB in [0, 1], reflected below and to the right to what tiles take.

    Parameters
    ----------
    photo
        At any size.
    side
        Of a tile, in pixels: neither side of what is returned is shorter.
    factor
        Of which both sides become multiples.
    """
    height, width = photo.pixels.shape[:2]
    unit = _unit(in_srgb(photo.pixels, photo.icc))
    more = [max(side, -(-length // factor) * factor) - length for length in (height, width)]
    return np.pad(unit, ((0, more[0]), (0, more[1]), (0, 0)), "symmetric")


def resized(picture: FloatArray, height: int, width: int) -> FloatArray:
    """Return a picture ``(H, W, 3)`` at another size, in floats.

    Parameters
    ----------
    picture
        Any values.
    height, width
        In pixels.
    """
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
        for plane in np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)
    ]
    made: FloatArray = np.stack(planes, -1)
    return made


def _unit(pixels: Eight) -> FloatArray:
    unit: FloatArray = pixels.astype(np.float32) / np.float32(255)
    return unit


def _scaled(height: int, width: int, longest: int) -> tuple[int, int]:
    """Return the size that Idefics3's processor scales to: the shorter side even."""
    aspect = width / height
    if width >= height:
        width, height = longest, int(longest / aspect)
        height += height % 2
    else:
        height, width = longest, int(longest * aspect)
        width += width % 2
    height, width = max(height, 1), max(width, 1)
    if max(height, width) > _MOST_PX:
        wide = width >= height
        height, width = (int(_MOST_PX / aspect), _MOST_PX) if wide else (_MOST_PX, int(_MOST_PX * aspect))
    return max(height, 1), max(width, 1)


def _resized(pixels: Eight, width: int, height: int, resampling: Resampling) -> Eight:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), _FILTERS[resampling]))
