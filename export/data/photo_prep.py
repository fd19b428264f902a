"""Turns one original photo into a training photo: upright, sRGB, and small enough to have lost its JPEG artefacts."""

import io
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageCms, ImageOps
from pillow_heif import register_heif_opener

from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.files import write_bytes

RECIPE_VERSION: Final = 1
MAX_PIXELS: Final = 150_000_000
MIN_SHORT_SIDE: Final = 512
KEEP_SHORT_SIDE: Final = 544
MAX_LONG_SIDE: Final = 1536
SHRINK: Final = 1.5
SHRINK_LARGE: Final = 2.0
LARGE_SHORT_SIDE: Final = 1600
MIN_CHROMA: Final = 1.0

_NOTICE: Final = re.compile(r"copyright\b|\(c\)|©|\b(19|20)\d\d\b(\s*[-–]\s*\d{4})?|all rights reserved", re.IGNORECASE)

_DAMAGED: Final = (
    *(OSError, ValueError, SyntaxError, EOFError, RuntimeError, MemoryError, OverflowError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
"""What decoders raise at damaged files."""

register_heif_opener()


class PreparedSize(Config):
    """What became of one photo."""

    width: int
    height: int
    scale: float


def shrink_factor(width: int, height: int) -> float:
    """Give the factor by which a photo of ``width`` × ``height`` pixels is made smaller.

    1.5, or 2 from a short side of 1600 pixels on, and more where the long side would stay above 1536 pixels; less
    where the short side would fall below 544 pixels, which has precedence. Never below 1.

    Raises
    ------
    PhotoError
        If the short side is below 512 pixels.
    """
    short, long = sorted((width, height))
    if short < MIN_SHORT_SIDE:
        raise PhotoError(f"{width}×{height} pixels: the short side is below {MIN_SHORT_SIDE}")
    factor = max(SHRINK_LARGE if short >= LARGE_SHORT_SIDE else SHRINK, long / MAX_LONG_SIDE)
    return max(1.0, min(factor, short / KEEP_SHORT_SIDE))


def prepare_photo(original: Path, target: Path) -> PreparedSize:
    """Prepare ``original`` and write it as an 8-bit RGB PNG, under a temporary name until it is whole.

    Raises
    ------
    PhotoError
        If the photo cannot be read, is too small or too large, is partly transparent, or has no color at all.
    StorageError
        If the prepared photo cannot be written.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(original) as opened:
                image = _upright_srgb(opened)
    except PhotoError:
        raise
    except (*_DAMAGED, ImageCms.PyCMSError) as error:
        raise PhotoError(f"cannot be read as a photo ({error})") from error
    factor = shrink_factor(*image.size)
    size = (round(image.width / factor), round(image.height / factor))
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    if _mean_chroma(image) < MIN_CHROMA:
        raise PhotoError("has no color, so that no color attribute could be learned or measured on it")
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=4)
    write_bytes(target, content.getvalue())
    return PreparedSize(width=image.width, height=image.height, scale=factor)


def exif_author(original: Path) -> str | None:
    """Give the photographer that EXIF names (Artist, else Copyright), or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(original) as image:
                exif = image.getexif()
    except _DAMAGED:
        return None
    for tag in (0x013B, 0x8298):
        text = _NOTICE.sub(" ", _as_utf8(str(exif.get(tag, ""))).replace("\0", " "))
        if name := " ".join(text.split()).strip(" ,.;"):
            return name
    return None


def read_pixels(path: Path) -> ByteImage:
    """Return the pixels of a photo that was prepared, or is upright sRGB as it lies: uint8, shape ``(H, W, 3)``.

    Parameters
    ----------
    path
        Any format that Pillow reads; gray becomes RGB.
    """
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _as_utf8(text: str) -> str:
    try:  # Pillow reads the tag as Latin-1; cameras and editors write UTF-8
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _upright_srgb(opened: Image.Image) -> Image.Image:
    if opened.width * opened.height > MAX_PIXELS:
        raise PhotoError(f"{opened.width}×{opened.height} pixels are more than the {MAX_PIXELS} that are read")
    shrink_factor(*opened.size)  # before decoding: too small is known from the header
    profile = opened.info.get("icc_profile")
    image = _opaque(ImageOps.exif_transpose(opened))
    if image.mode.startswith("I") or image.mode == "F":
        raise PhotoError(f"pixels of mode {image.mode} are not 8-bit color")
    if profile and image.mode in {"RGB", "CMYK", "L"}:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        image = image if converted is None else converted
    image = image.convert("RGB")
    image.info.clear()  # the profile and the orientation no longer hold
    return image


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if "A" in image.getbands():
        low, _high = image.getchannel("A").getextrema()
        if low != 255:
            raise PhotoError("is partly transparent")
        image = image.convert("L" if image.mode == "LA" else "RGB")
    return image


def _mean_chroma(image: Image.Image) -> float:
    small = np.asarray(image.resize((128, 128), Image.Resampling.BOX), dtype=np.float32)
    return float((small.max(axis=2) - small.min(axis=2)).mean())
