"""Reading photos: JPEG, PNG (8 and 16 bit), WebP and HEIC, checked before they are trusted."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pillow_heif
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from pocketcrafter.runtime.arrays import PixelArray
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.color import color_space_of, convert_to_srgb, handling_of, pixels_to_srgb
from pocketcrafter.runtime.photo.metadata import normalized_exif, normalized_xmp
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
from pocketcrafter.runtime.photo.png import is_sixteen_bit, read_sixteen_bit

MAX_PIXELS: Final = 105_000_000
"""Largest photo: sensors sold as 100 MP have up to 102 million pixels."""
MAX_FILE_BYTES: Final = 1 << 30

_FORMATS: Final = {
    "JPEG": PhotoFormat.JPEG,
    "PNG": PhotoFormat.PNG,
    "WEBP": PhotoFormat.WEBP,
    "HEIF": PhotoFormat.HEIC,
}
_TRANSPOSED: Final[dict[int, Callable[[PixelArray], PixelArray]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}

_Planes = tuple[PixelArray, PixelArray | None, bytes | None]


def decode(source: Path | bytes) -> Photo:
    """Read a photo.

    Parameters
    ----------
    source
        A file, or a file's content.

    Returns
    -------
    Photo
        With the orientation applied. Grey, palette and CMYK pictures become RGB; pixels in profiles that cannot be
        edited in place (CMYK, lookup tables, ProPhoto and the like) become sRGB, others keep their profile.

    Raises
    ------
    PhotoError
        If the source is missing, empty, too large, truncated or not a photo in a supported format.
    """
    path = source if isinstance(source, Path) else None
    with _described(str(path) if path else "photo"):
        data = _read(source)
        with warnings.catch_warnings():
            # Pillow warns of large photos; MAX_PIXELS is checked below, on the header.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            pillow_heif.register_heif_opener()
            with Image.open(io.BytesIO(data), formats=tuple(_FORMATS)) as image:
                if image.width * image.height > MAX_PIXELS:
                    size = f"{image.width}×{image.height}"
                    raise PhotoError(f"{size} is over the limit of {MAX_PIXELS / 1e6:.0f} MP; scale it down first")
                return _decoded(image, data, path)


def _read(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        data = source
    elif not source.is_file():
        raise PhotoError("there is no such file" if not source.exists() else "this is not a file")
    elif source.stat().st_size > MAX_FILE_BYTES:
        raise PhotoError(f"the file is over {MAX_FILE_BYTES >> 20} MiB")
    else:
        try:
            data = source.read_bytes()
        except OSError as error:
            raise PhotoError(f"it cannot be read ({error.strerror})") from error
    if not data:
        raise PhotoError("the file is empty")
    return data


@contextmanager
def _described(name: str) -> Iterator[None]:
    """Turn whatever a decoder throws at damaged input into one typed error that names the file."""
    try:
        yield
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from error.__cause__
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name}: not a JPEG, PNG, WebP or HEIC photo, whatever its name says") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"{name}: its header announces far more than {MAX_PIXELS / 1e6:.0f} MP") from error
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError, struct.error, zlib.error) as error:
        raise PhotoError(f"{name}: the photo is damaged or incomplete ({error})") from error
    except (MemoryError, OverflowError) as error:
        raise PhotoError(f"{name}: the photo does not fit in memory") from error


def _decoded(image: Image.Image, data: bytes, path: Path | None) -> Photo:
    # Pillow's JPEG reader names JPEGs that hold more pictures, as phones write them, MPO; the first one is the photo.
    source_format = PhotoFormat.JPEG if image.format == "MPO" else _FORMATS[str(image.format)]
    sampling = _chroma_subsampling(image)
    icc = _fitting_profile(image)
    pixels, alpha, icc = _sixteen_bit(image, data, icc) if is_sixteen_bit(image) else _eight_bit(image, icc)
    # Only now: a PNG may hold its EXIF after the pixels, so that asking for it decodes them.
    exif, xmp = image.info.get("exif"), image.info.get("xmp")
    # HEIC containers rotate by themselves; their EXIF orientation is a copy that must not be applied twice.
    orientation = 1 if source_format is PhotoFormat.HEIC else image.getexif().get(0x0112, 1)
    return Photo(
        pixels=_upright(pixels, orientation),
        alpha=None if alpha is None else _upright(alpha, orientation),
        icc=icc,
        exif=normalized_exif(exif) if isinstance(exif, bytes) else None,
        xmp=normalized_xmp(xmp) if isinstance(xmp, bytes) else None,
        source_format=source_format,
        chroma_subsampling=sampling,
        path=path,
    )


def _upright(pixels: PixelArray, orientation: int) -> PixelArray:
    turned = _TRANSPOSED[orientation](pixels) if orientation in _TRANSPOSED else pixels
    return turned if turned.flags.c_contiguous else turned.copy(order="C")


def _eight_bit(image: Image.Image, icc: bytes | None) -> _Planes:
    if image.mode in {"CMYK", "L"} and icc is not None:
        return np.asarray(convert_to_srgb(image, icc)), None, None
    if image.has_transparency_data:
        both = np.asarray(image.convert("RGBA"))
        alpha = both[..., 3]
        return _editable(both[..., :3], None if alpha.min() == 255 else alpha, icc)
    return _editable(np.asarray(image if image.mode == "RGB" else image.convert("RGB")), None, icc)


def _sixteen_bit(image: Image.Image, data: bytes, icc: bytes | None) -> _Planes:
    key = image.info.get("transparency")
    samples = read_sixteen_bit(image, io.BytesIO(data))
    alpha: PixelArray | None = None
    if samples.shape[2] in {2, 4}:
        samples, alpha = samples[..., :-1], samples[..., -1]
    elif key is not None:
        alpha = np.where((samples == np.asarray(key, np.uint16)).all(axis=2), 0, 65535).astype(np.uint16)
    if samples.shape[2] == 1:
        samples = np.dstack([samples] * 3).astype(np.uint16, copy=False)
    return _editable(samples, alpha, icc)


def _editable(pixels: PixelArray, alpha: PixelArray | None, icc: bytes | None) -> _Planes:
    if icc is None or color_space_of(icc) != "RGB":
        return pixels, alpha, None
    if handling_of(icc) != "convert":
        return pixels, alpha, icc
    return pixels_to_srgb(pixels, icc), alpha, None


def _fitting_profile(image: Image.Image) -> bytes | None:
    """Return the picture's profile unless damaged or of another color model; like viewers, we then assume sRGB."""
    icc = image.info.get("icc_profile")
    space = {"CMYK": "CMYK", "L": "GRAY", "LA": "GRAY", "I;16": "GRAY"}.get(image.mode, "RGB")
    return icc if isinstance(icc, bytes) and color_space_of(icc) == space else None


def _chroma_subsampling(image: Image.Image) -> int:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return 0
    return max(int(JpegImagePlugin.get_sampling(image)), 0)
