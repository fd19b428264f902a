"""ICC profiles: which photos can be edited in their own RGB, and how the others and the critic's views become sRGB."""

import io
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageCms

from pocketcrafter.runtime.arrays import AnyFloatArray, FloatArray, PixelArray
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.icc import BT709, SRGB_CURVE, Curve, colorants_of, curve_tag, grey_profile, tags_of
from pocketcrafter.runtime.render import linear_to_srgb, srgb_to_linear

Handling = Literal["srgb", "native", "convert"]
Channels = Literal["RGB", "GRAY", "CMYK"]

NATIVE_CURVE_TOLERANCE: Final = 9
"""Largest distance in 8-bit levels between a grey in the profile and the same grey in sRGB at which the profile's
tone curve counts as sRGB's. Adobe RGB's gamma of 2.2 is within 8 (in the deepest shadows), ProPhoto's 1.8 is 20 off."""
_LOOKUP_TAGS: Final = {b"A2B0", b"A2B1", b"D2B0", b"D2B1"}
"""Lookup tables, which go before a matrix."""
_STRIP_PIXELS: Final = 1 << 18


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


def is_usable(icc: bytes, channels: Channels) -> bool:
    """Whether a profile of these channels is whole enough to convert a pixel with."""
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[channels]
    try:
        convert_to_srgb(Image.new(mode, (1, 1)), icc)
    except PhotoError:
        return False
    return True


def name_of(icc: bytes) -> str:
    """Return what a profile calls itself."""
    try:
        return str(ImageCms.getProfileDescription(_profile(icc))).strip() or "an unnamed profile"
    except (PhotoError, ImageCms.PyCMSError):
        return "an unnamed profile"


def convert_to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert an 8-bit Pillow picture (RGB, L or CMYK) in a profile to sRGB, relative colorimetric.

    Raises
    ------
    PhotoError
        If the profile cannot be read or is not of the picture's color model.
    """
    return _converted(image, icc, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), "RGB")


def grey_to_srgb(samples: PixelArray, icc: bytes) -> PixelArray:
    """Convert grey samples, any shape, uint8 or uint16, from a grey profile to sRGB's curve, at their own precision.

    Raises
    ------
    PhotoError
        If the profile cannot be read or is not one of grey.
    """
    levels = int(np.iinfo(samples.dtype).max)
    table = _grey_ramp(icc, SRGB_CURVE)[:: 65535 // levels]
    return table[samples] if samples.dtype == np.uint16 else to_eight_bits(table)[samples]


def pixels_to_srgb(pixels: PixelArray, icc: bytes) -> PixelArray:
    """Convert pixels ``(H, W, 3)`` from an RGB profile to sRGB; they keep their dtype.

    16-bit pixels keep their precision in matrix profiles, and have that of 8 bits after lookup-table ones.
    """
    if pixels.dtype == np.uint16 and not _LOOKUP_TAGS & tags_of(icc).keys():
        colorants = colorants_of(icc)
        if colorants is not None:
            return _sixteen_bits_to_srgb(pixels, icc, colorants)
    eight = pixels if pixels.dtype == np.uint8 else to_eight_bits(pixels)
    converted = np.asarray(convert_to_srgb(Image.fromarray(np.ascontiguousarray(eight)), icc))
    return converted if pixels.dtype == np.uint8 else converted.astype(np.uint16) * np.uint16(257)


def view_to_srgb(view: FloatArray, icc: bytes) -> FloatArray:
    """Convert network views ``(N, 3, h, w)`` in [0, 1] from an RGB profile to sRGB, at 8 bits."""
    n, _, h, w = view.shape
    pixels = np.rint(view.transpose(0, 2, 3, 1).reshape(n * h, w, 3) * 255).astype(np.uint8)
    converted = pixels_to_srgb(pixels, icc).astype(np.float32) / 255
    return np.ascontiguousarray(converted.reshape(n, h, w, 3).transpose(0, 3, 1, 2))


def srgb_to_profile(unit: FloatArray, icc: bytes) -> FloatArray:
    """Convert sRGB values ``(H, W, 3)`` in [0, 1] to a matrix profile, in floats.

    Parameters
    ----------
    unit
        What is converted.
    icc
        A profile that :func:`handling_of` calls native.

    Raises
    ------
    PhotoError
        If the profile has no matrix.
    """
    colorants = colorants_of(icc)
    if colorants is None:
        raise PhotoError("its ICC profile has no matrix, and colors cannot be converted to it")
    tags = tags_of(icc)
    matrix = np.linalg.solve(colorants, BT709.to_pcs()).T.astype(np.float32)
    light = np.clip(srgb_to_linear(unit) @ matrix, 0, 1)
    levels = np.linspace(0, 1, 65536)
    curves = [_grey_ramp(grey_profile(tags[f"{c}TRC".encode()]), Curve(1.0)) / np.float32(65535) for c in "rgb"]
    encoded = [np.interp(light[..., c], curve, levels) for c, curve in enumerate(curves)]
    made: FloatArray = np.stack(encoded, -1).astype(np.float32)
    return made


def to_eight_bits(values: PixelArray) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Round 16-bit values to the nearest 8-bit level; 8-bit values come back as they are."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def in_srgb(pixels: PixelArray, icc: bytes | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return pixels in sRGB at 8 bits; those that are there already come back as they are.

    Parameters
    ----------
    pixels
        RGB, ``(H, W, 3)``.
    icc
        What they are encoded in; sRGB where `None`.
    """
    eight = to_eight_bits(pixels)
    if icc is None or handling_of(icc) == "srgb":
        return eight
    return to_eight_bits(pixels_to_srgb(eight, icc))


def to_full_range(pixels: PixelArray) -> PixelArray:
    """Stretch narrow-range samples (black 16/255, white 235/255 of H.273) to the whole of their dtype."""
    levels = int(np.iinfo(pixels.dtype).max)
    unit = (levels + 1) / 256
    table = np.rint(np.clip((np.arange(levels + 1) - 16 * unit) * (levels / (219 * unit)), 0, levels))
    return table.astype(np.uint8)[pixels] if pixels.dtype == np.uint8 else table.astype(np.uint16)[pixels]


def _sixteen_bits_to_srgb(pixels: PixelArray, icc: bytes, colorants: AnyFloatArray) -> PixelArray:
    """Convert through linear light: Pillow's interface to littlecms has no 16-bit RGB."""
    tags = tags_of(icc)
    linear = Curve(1.0)
    curves = [_grey_ramp(grey_profile(tags[f"{c}TRC".encode()]), linear) / np.float32(65535) for c in "rgb"]
    matrix = np.linalg.solve(BT709.to_pcs(), colorants).T.astype(np.float32)
    flat = pixels.reshape(-1, 3)
    out = np.empty(flat.shape, dtype=np.uint16)
    for start in range(0, len(flat), _STRIP_PIXELS):
        strip = flat[start : start + _STRIP_PIXELS]
        light = np.stack([np.take(curve, strip[:, c]) for c, curve in enumerate(curves)], axis=1)
        out[start : start + len(strip)] = np.rint(linear_to_srgb(np.clip(light @ matrix, 0, 1)) * 65535)
    return out.reshape(pixels.shape)


def _grey_ramp(icc: bytes, curve: Curve) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """Return what the 65536 levels of a grey profile are in a grey space with this curve."""
    ramp = Image.fromarray(np.arange(65536, dtype=np.uint16)[None])
    out = _converted(ramp, icc, _profile(grey_profile(curve_tag(curve))), "I;16")
    levels: np.ndarray[tuple[int, ...], np.dtype[np.uint16]] = np.asarray(out, dtype=np.uint16)[0]
    return levels


def _converted(image: Image.Image, icc: bytes, target: ImageCms.ImageCmsProfile, mode: str) -> Image.Image:
    try:
        converted = ImageCms.profileToProfile(
            image,
            _profile(icc),
            target,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode=mode,
            # Optimized curves have 4096 points, which 16-bit shadows would show.
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | (ImageCms.Flags.NOOPTIMIZE if mode == "I;16" else 0),
        )
    except (ImageCms.PyCMSError, ValueError, OSError) as error:
        raise PhotoError(f"its {image.mode} pixels cannot be converted from its ICC profile: {error}") from error
    if converted is None:
        raise PhotoError("the color conversion gave no picture")
    return converted


def _profile(icc: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except (OSError, ImageCms.PyCMSError) as error:
        raise PhotoError(f"its ICC profile is damaged: {error}") from error


def _largest_change(pixels: PixelArray, icc: bytes) -> int:
    return int(np.abs(pixels_to_srgb(pixels, icc).astype(np.int16) - pixels).max())
