"""ICC profiles: which photos can be edited in their own RGB, and how the others and the critic's views become sRGB."""

import io
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageCms

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.errors import PhotoError

Handling = Literal["srgb", "native", "convert"]

NATIVE_CURVE_TOLERANCE: Final = 9
"""Largest distance in 8-bit levels between a grey in the profile and the same grey in sRGB at which the profile's
tone curve counts as sRGB's. Adobe RGB's gamma of 2.2 is within 8 (in the deepest shadows), ProPhoto's 1.8 is 20 off."""


def handling_of(icc: bytes | None) -> Handling:
    """Decide how a photo in this RGB profile is edited.

    Returns
    -------
    str
        ``"srgb"`` where there is no profile or it equals sRGB to one 8-bit level; ``"native"`` where it is a matrix
        profile whose tone curve is about sRGB's (Display P3, Adobe RGB), so that values can be edited as they are;
        ``"convert"`` for every other profile.

    Raises
    ------
    PhotoError
        If the profile cannot be read, or is not one of RGB colors.
    """
    if icc is None:
        return "srgb"
    profile = _profile(icc)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    steps = np.array([0, 64, 128, 192, 255], dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(1, -1, 3)
    if _largest_change(cube, icc) <= 1 and _largest_change(ramp, icc) <= 1:
        return "srgb"
    if profile.profile.is_matrix_shaper and _largest_change(ramp, icc) <= NATIVE_CURVE_TOLERANCE:
        return "native"
    return "convert"


def color_space_of(icc: bytes) -> str | None:
    """Return the profile's color space (``"RGB"``, ``"GRAY"``, ``"CMYK"``…), or `None` where it cannot be read."""
    try:
        return str(_profile(icc).profile.xcolor_space).strip()
    except PhotoError:
        return None


def convert_to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert an 8-bit Pillow picture (RGB, L or CMYK) in a profile to sRGB, relative colorimetric.

    Raises
    ------
    PhotoError
        If the profile cannot be read or is not of the picture's color model.
    """
    try:
        converted = ImageCms.profileToProfile(
            image,
            _profile(icc),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, ValueError, OSError) as error:
        raise PhotoError(f"its {image.mode} pixels cannot be converted from its ICC profile: {error}") from error
    if converted is None:
        raise PhotoError("the color conversion gave no picture")
    return converted


def pixels_to_srgb(pixels: PixelArray, icc: bytes) -> PixelArray:
    """Convert pixels ``(H, W, 3)`` from an RGB profile to sRGB; 16-bit ones keep their dtype, at 8-bit precision."""
    eight = pixels if pixels.dtype == np.uint8 else to_eight_bits(pixels)
    converted = np.asarray(convert_to_srgb(Image.fromarray(np.ascontiguousarray(eight)), icc))
    return converted if pixels.dtype == np.uint8 else converted.astype(np.uint16) * np.uint16(257)


def view_to_srgb(view: FloatArray, icc: bytes) -> FloatArray:
    """Convert network views ``(N, 3, h, w)`` in [0, 1] from an RGB profile to sRGB, at 8 bits."""
    n, _, h, w = view.shape
    pixels = np.rint(view.transpose(0, 2, 3, 1).reshape(n * h, w, 3) * 255).astype(np.uint8)
    converted = pixels_to_srgb(pixels, icc).astype(np.float32) / 255
    return np.ascontiguousarray(converted.reshape(n, h, w, 3).transpose(0, 3, 1, 2))


def to_eight_bits(values: PixelArray) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Round 16-bit values to the nearest 8-bit level; 8-bit values come back as they are."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _profile(icc: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except (OSError, ImageCms.PyCMSError) as error:
        raise PhotoError(f"its ICC profile is damaged: {error}") from error


def _largest_change(pixels: PixelArray, icc: bytes) -> int:
    return int(np.abs(pixels_to_srgb(pixels, icc).astype(np.int16) - pixels).max())
