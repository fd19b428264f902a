"""Reading photos: JPEG, PNG (8 and 16 bit), WebP, HEIC and AVIF, checked before they are trusted."""

import io
import re
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
from pocketcrafter.runtime.photo.color import (
    color_space_of,
    convert_to_srgb,
    grey_to_srgb,
    handling_of,
    name_of,
    pixels_to_srgb,
    to_full_range,
)
from pocketcrafter.runtime.photo.declared import declared_color, is_adobe_rgb_by_exif, item_properties, srgb_profile
from pocketcrafter.runtime.photo.hdr import tone_mapped
from pocketcrafter.runtime.photo.metadata import Metadata
from pocketcrafter.runtime.photo.metadata.containers import read, read_items
from pocketcrafter.runtime.photo.metadata.png import lacks_end_chunk
from pocketcrafter.runtime.photo.metadata.words import Word
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
from pocketcrafter.runtime.photo.png import is_sixteen_bit, read_sixteen_bit

MAX_PIXELS: Final = 105_000_000
"""Largest photo: sensors sold as 100 MP have up to 102 million pixels."""
MAX_FILE_BYTES: Final = 1 << 30
_APPLE_DOUBLE: Final = b"\x00\x05\x16\x07"
_MP_ENTRIES: Final = 0xB002

_FORMATS: Final = {
    "JPEG": PhotoFormat.JPEG,
    "PNG": PhotoFormat.PNG,
    "WEBP": PhotoFormat.WEBP,
    # Before HEIF, whose plugin also takes AVIF of the general brand mif1, which it cannot decode.
    "AVIF": PhotoFormat.AVIF,
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

_APPLE_GAIN_MAP: Final = b"urn:com:apple:photo:2020:aux:hdrgainmap"
_GAIN_MAP_LEFT_OUT: Final = "Its HDR gain map is left out, as it fits the unchanged photo only."

_Planes = tuple[PixelArray, PixelArray | None, bytes | None, tuple[str, ...]]
_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN: Final = 0xDA
_MARKER: Final = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""A marker in coded pixels, where a zero follows 0xFF otherwise, or a restart."""
_COEFFICIENTS: Final = 64
_FILLINGS: Final = (
    b"",
    b"\x55" * 64,
    b"\xaa" * 64,
    b"".join(bytes([0xFF, 0xD0 + number % 8]) + b"\x55" * 16 for number in range(16)),
)
"""What is put before the end marker: nothing, coded pixels, and coded pixels after each of the restart markers."""


def decode(source: Path | bytes) -> Photo:
    """Read a photo from a file; `load` takes other things too.

    Parameters
    ----------
    source
        A file, or a file's content.

    Returns
    -------
    Photo
        With the orientation applied. Grey, palette and CMYK pictures become RGB; HEIC of 10 and 12 bits and PNG of 16
        become uint16. Colors are read as the file declares them: by ICC profile, code points (cICP, nclx), gamma and
        chromaticities, or EXIF's Adobe RGB. Pixels in spaces that cannot be edited in place (CMYK, grey profiles,
        lookup tables, ProPhoto, linear light and the like) become sRGB; others keep their profile, which is built where
        the file holds none. PQ and HLG are tone-mapped to Display P3 (BT.2390). `notes` tells each of these.

    Raises
    ------
    PhotoError
        If the source is missing, empty, too large, truncated or not a photo in a supported format.
    """
    path = source if isinstance(source, Path) else None
    with _described(str(path) if path else "photo"):
        beside, data = read(_read(source))
        with warnings.catch_warnings():
            # Pillow warns of large photos; MAX_PIXELS is checked below, on the header. It warns of damage beside the
            # pixels too, which the photo's metadata tells of.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            pillow_heif.register_heif_opener()
            with _opened(data) as image:
                if image.width * image.height > MAX_PIXELS:
                    size = f"{image.width}×{image.height}"
                    raise PhotoError(f"{size} is over the limit of {MAX_PIXELS / 1e6:.0f} MP; scale it down first")
                photo = _decoded(image, data, beside)
                return photo if path is None else photo.of_file(path)


def _opened(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=tuple(_FORMATS))
    except UnidentifiedImageError:
        if data.startswith(_APPLE_DOUBLE):
            raise PhotoError(
                "this is what macOS keeps beside a photo on foreign disks (AppleDouble), not the photo itself, whose "
                "name has no `._`"
            ) from None
        bits = _jpeg_bits(data)
        if bits in {None, 8}:
            raise
        raise PhotoError(f"this JPEG has {bits} bits a sample, and only those of 8 can be read") from None
    if image.format == "JPEG" and lacks_end_marker(data) and (closed := with_end_marker(data)) is not None:
        return Image.open(io.BytesIO(closed), formats=("JPEG",))
    return image


def _jpeg_bits(data: bytes) -> int | None:
    """Bits a sample that a JPEG's frame header names."""
    offset = 2
    while data[:2] == b"\xff\xd8" and offset + 5 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return data[offset + 4]
        offset += 2 + struct.unpack_from(">H", data, offset + 2)[0]
    return None


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
        raise PhotoError(f"{name}: not a JPEG, PNG, WebP, HEIC or AVIF photo, whatever its name says") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"{name}: its header announces far more than {MAX_PIXELS / 1e6:.0f} MP") from error
    # AssertionError is Pillow's, of a palette that is missing.
    except (
        AssertionError,
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        RuntimeError,
        struct.error,
        zlib.error,
    ) as error:
        raise PhotoError(f"{name}: the photo is damaged or incomplete ({error})") from error
    except (MemoryError, OverflowError) as error:
        raise PhotoError(f"{name}: the photo does not fit in memory") from error


def _decoded(image: Image.Image, data: bytes, beside: Metadata | None) -> Photo:
    # Pillow's JPEG reader names JPEGs that hold more pictures, as phones write them, MPO; the first one is the photo.
    source_format = PhotoFormat.JPEG if image.format == "MPO" else _FORMATS[str(image.format)]
    sampling = _chroma_subsampling(image)
    bits = int(image.info.get("bit_depth", 16))
    pixels, alpha, icc, notes = _in_rgb(image, data)
    if icc is None and is_adobe_rgb_by_exif(image):
        icc = srgb_profile()
    metadata = read_items(data, image.info) if beside is None else beside
    # HEIC containers rotate by themselves; their EXIF orientation is a copy that must not be applied twice.
    is_upright = source_format is PhotoFormat.HEIC
    orientation = image.info.get("original_orientation") or 1 if is_upright else metadata.orientation
    pixels = _upright(pixels, 1 if is_upright else orientation)
    edited = metadata.of_edited(orientation, pixels.shape[1], pixels.shape[0])
    has_gain_map = Word.GAIN_MAP in edited.left_out or _has_gain_map(image, data)
    return Photo(
        pixels=pixels,
        alpha=None if alpha is None else _upright(alpha, 1 if is_upright else orientation),
        icc=icc,
        metadata=edited,
        source_format=source_format,
        chroma_subsampling=sampling,
        significant_bits=bits,
        notes=(
            *notes,
            *_lost_bits(image, data),
            *([_GAIN_MAP_LEFT_OUT] if has_gain_map else []),
            *_not_taken(image, data, has_gain_map=has_gain_map),
        ),
    )


def _upright(pixels: PixelArray, orientation: int) -> PixelArray:
    turned = _TRANSPOSED[orientation](pixels) if orientation in _TRANSPOSED else pixels
    return turned if turned.flags.c_contiguous else turned.copy(order="C")


def _in_rgb(image: Image.Image, data: bytes) -> _Planes:
    """Decode to pixels that can be edited, their opacity and profile, and what was converted or left out."""
    if image.mode == "CMYK":
        color = declared_color(image, data, "CMYK")
        if color.icc is None:
            note = "Its CMYK pixels have no profile and were converted to sRGB by formula."
            return np.asarray(image.convert("RGB")), None, None, (*color.notes, note)
        return np.asarray(convert_to_srgb(image, color.icc)), None, None, (*color.notes, _conversion(color.icc))
    if is_sixteen_bit(image):
        samples, alpha = _sixteen_bit(image, data)
    elif image.format == "HEIF" and image.info["bit_depth"] > 8:
        samples, alpha = _deep_heif(data, image.info["bit_depth"])
    else:
        samples, alpha = _eight_bit(image)
    grey = samples.shape[2] == 1
    color = declared_color(image, data, "GRAY" if grey else "RGB")
    if grey and color.icc is not None and color_space_of(color.icc) == "GRAY":
        samples = grey_to_srgb(samples, color.icc)
        notes, icc = (*color.notes, _conversion(color.icc)), None
    else:
        notes, icc = color.notes, color.icc
    pixels = _in_three_channels(samples) if grey else samples
    if not color.full_range:
        pixels = to_full_range(pixels)
    if color.hdr is not None:
        pixels, icc, note = tone_mapped(pixels, color.hdr)
        return pixels, alpha, icc, (*notes, note)
    if icc is not None and handling_of(icc) == "convert":
        return pixels_to_srgb(pixels, icc), alpha, None, (*notes, _conversion(icc))
    return pixels, alpha, icc, notes


def _in_three_channels(grey: PixelArray) -> PixelArray:
    pixels: PixelArray = np.empty((*grey.shape[:2], 3), dtype=grey.dtype)
    pixels[...] = grey
    return pixels


def _conversion(icc: bytes) -> str:
    return f"Its colors were converted from {name_of(icc)} to sRGB."


def _eight_bit(image: Image.Image) -> tuple[PixelArray, PixelArray | None]:
    grey = image.mode in {"1", "L", "LA", "La"}
    if image.has_transparency_data:
        both = np.asarray(image.convert("LA" if image.mode == "La" else "RGBA"))
        alpha = both[..., -1]
        return both[..., : 1 if grey else 3], None if alpha.min() == 255 else alpha
    if grey:
        return np.asarray(image if image.mode == "L" else image.convert("L"))[..., None], None
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB")), None


def _sixteen_bit(image: Image.Image, data: bytes) -> tuple[PixelArray, PixelArray | None]:
    key = image.info.get("transparency")
    samples = read_sixteen_bit(image, io.BytesIO(data))
    if samples.shape[2] in {2, 4}:
        return samples[..., :-1], samples[..., -1]
    if key is not None:
        return samples, np.where((samples == np.asarray(key, np.uint16)).all(axis=2), 0, 65535).astype(np.uint16)
    return samples, None


def _deep_heif(data: bytes, bits: int) -> tuple[PixelArray, PixelArray | None]:
    """Decode a HEIC of 10 or 12 bits to 16: Pillow's plugin gives the high 8."""
    file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    levels = (1 << bits) - 1
    table = np.rint(np.arange(levels + 1) * (65535 / levels)).astype(np.uint16)
    samples = np.take(table, np.asarray(file), mode="clip")
    if samples.ndim == 2:
        return samples[..., None], None
    if samples.shape[2] == 3:
        return samples, None
    alpha = samples[..., 3]
    if file.premultiplied_alpha:
        share = np.maximum(alpha, 1)[..., None].astype(np.float32) / 65535
        samples = np.minimum(np.rint(samples[..., :3] / share), 65535).astype(np.uint16)
    return samples[..., :3], None if alpha.min() == 65535 else alpha


def _lost_bits(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """Say where the decoder gives 8 bits and the file holds more."""
    configuration = next(item_properties(data, b"av1C"), b"") if image.format == "AVIF" else b""
    if len(configuration) < 3 or not configuration[2] & 0x40:
        return ()
    return (f"Its {12 if configuration[2] & 0x20 else 10}-bit AVIF pixels were read as 8 bits.",)


def _has_gain_map(image: Image.Image, data: bytes) -> bool:
    """Whether the photo has a gain map that neither its XMP nor a segment or item of its own announces."""
    if image.format == "MPO":
        return _APPLE_GAIN_MAP in data
    # ISO 21496-1 in HEIC and AVIF: the file type box names the brand of tone maps.
    return image.format in {"HEIF", "AVIF"} and b"tmap" in data[8 : int.from_bytes(data[:4], "big")]


def _not_taken(image: Image.Image, data: bytes, *, has_gain_map: bool) -> tuple[str, ...]:
    """Tell the frames of an animation or burst that are left out, and that the file ends too early."""
    frames = int(getattr(image, "n_frames", 1))
    if image.format == "MPO":
        # Previews and the gain map, which is told apart, are no pictures of their own.
        kinds = [entry["Attribute"]["MPType"] for entry in getattr(image, "mpinfo", {}).get(_MP_ENTRIES, ())]
        frames -= sum(kind.startswith("Large Thumbnail") for kind in kinds) + has_gain_map
    notes = []
    if frames > 1:
        first = "the primary one" if image.format == "HEIF" else "the first"
        notes.append(f"Of its {frames} frames {first} was taken; the others are left out.")
    if image.format == "JPEG" and lacks_end_marker(data):
        notes.append("The file ends without JPEG's end marker; all of its pixels were there.")
    if image.format == "PNG" and lacks_end_chunk(data):
        notes.append("The file ends without PNG's end chunk; all of its pixels were there.")
    return tuple(notes)


def _chroma_subsampling(image: Image.Image) -> int:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return 0
    return max(int(JpegImagePlugin.get_sampling(image)), 0)


def lacks_end_marker(jpeg: bytes) -> bool:
    """Whether no end marker follows the first scan; within coded pixels its two bytes cannot occur."""
    scan = next((place for marker, place in _segments(jpeg) if marker == _SCAN), None)
    return scan is not None and jpeg.find(_END, scan) < 0


def with_end_marker(jpeg: bytes) -> bytes | None:
    """Return a JPEG with the end marker that it lacks, or `None` where pixels are missing too.

    A decoder passes over bytes between the last block and the end marker. If it makes pixels of them, blocks are
    missing. Whole scans are missing where a coefficient was not told to its last bit.
    """
    jpeg = jpeg.removesuffix(_END[:1])
    if not _has_all_scans(jpeg):
        return None
    pictures = []
    for filling in _FILLINGS:
        try:
            with Image.open(io.BytesIO(jpeg + filling + _END), formats=("JPEG",)) as image:
                pictures.append(np.asarray(image))
        except OSError:
            return None
    return jpeg + _END if all(np.array_equal(pictures[0], picture) for picture in pictures[1:]) else None


def _has_all_scans(jpeg: bytes) -> bool:
    missing: set[tuple[int, int]] = set()
    for marker, place in _segments(jpeg):
        body = jpeg[place + 4 : place + 2 + struct.unpack_from(">H", jpeg, place + 2)[0]]
        if marker in _FRAMES:
            missing = {(component, k) for component in body[6::3] for k in range(_COEFFICIENTS)}
        elif marker == _SCAN and body and len(body) == 4 + 2 * body[0]:
            first, last, bits = body[-3:]
            if bits & 0x0F == 0:
                missing -= {(component, k) for component in body[1:-3:2] for k in range(first, last + 1)}
    return not missing


def _segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker and the place of each segment that has a length."""
    place = len(_START)
    while jpeg.startswith(_START) and place + 4 <= len(jpeg) and jpeg[place] == 0xFF and jpeg[place + 1] != _END[1]:
        marker = jpeg[place + 1]
        yield marker, place
        place += 2 + struct.unpack_from(">H", jpeg, place + 2)[0]
        if marker == _SCAN:
            found = _MARKER.search(jpeg, place)
            if found is None:
                return
            place = found.end() - 2
