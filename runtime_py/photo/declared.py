"""What a photo's file says about its colors: by ICC profile, code points, gamma and chromaticities, or EXIF."""

import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from PIL import ExifTags, Image

from pocketcrafter.runtime.photo.color import Channels, color_space_of, is_usable
from pocketcrafter.runtime.photo.icc import (
    BT709,
    SRGB_CURVE,
    UNSPECIFIED,
    Chromaticities,
    CodePoints,
    Curve,
    matrix_profile,
)

ADOBE_RGB: Final = Chromaticities((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_ADOBE_RGB_GAMMA: Final = 563 / 256
_COLOR_SPACE_TAG: Final = 0xA001
_EXIF_ADOBE_RGB: Final = 2
_EXIF_UNCALIBRATED: Final = 0xFFFF
_PNG_UNIT: Final = 100_000
_CONTAINER_BOXES: Final = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes on the way to item properties, and the bytes before their first child."""


@dataclass(frozen=True)
class DeclaredColor:
    """How a photo's samples are to be read.

    Attributes
    ----------
    icc
        Their profile, as it stands in the file or built from what stands there; `None` means sRGB.
    hdr
        Their encoding if it is PQ or HLG, which no matrix profile describes.
    full_range
        Whether they run from 0 to the greatest value.
    notes
        What the file says and was left out.
    """

    icc: bytes | None = None
    hdr: CodePoints | None = None
    full_range: bool = True
    notes: tuple[str, ...] = ()


def declared_color(image: Image.Image, data: bytes, channels: Channels) -> DeclaredColor:
    """Find out how a photo's samples are encoded; like viewers, assume sRGB where nothing usable says it.

    Code points go before an ICC profile in PNG (third edition, 4.3), a profile before code points in HEIC and AVIF
    (ISO/IEC 23000-22); then come PNG's sRGB, gAMA and cHRM, and last EXIF's Adobe RGB (DCF 2.0).

    Parameters
    ----------
    image
        The opened photo.
    data
        The file's content.
    channels
        The color model of its samples.
    """
    notes: list[str] = []
    chunks = dict(_png_chunks(data)) if image.format == "PNG" else {}
    icc = image.info.get("icc_profile") or None
    points = _code_points(image, data, chunks)
    if points is not None and not points.is_known:
        numbers = f"primaries {points.primaries}, transfer {points.transfer}"
        notes.append(f"Its color code points ({numbers}) are not known and were left out.")
    elif points is not None and channels != "CMYK" and (icc is None or image.format == "PNG"):
        return _by_code_points(points)
    if icc is not None:
        space = color_space_of(icc)
        if space == channels and is_usable(icc, channels):
            points = CodePoints.of_profile(icc)
            hdr = points if points is not None and points.is_known and points.is_hdr else None
            return DeclaredColor(None if hdr else icc, hdr, notes=tuple(notes))
        why = "is damaged" if space in {None, channels} else f"is for {space} pixels, which these are not"
        notes.append(f"Its ICC profile {why}: it was left out.")
    if b"sRGB" not in chunks and channels != "CMYK":
        icc = _by_gamma(chunks, notes) or (_adobe_rgb() if is_adobe_rgb_by_exif(image) else None)
        return DeclaredColor(icc, notes=tuple(notes))
    return DeclaredColor(notes=tuple(notes))


def srgb_profile() -> bytes:
    """Build a profile of sRGB, for files whose EXIF would be read as another space where there is none."""
    return matrix_profile("sRGB", BT709, SRGB_CURVE, code_points=bytes([1, 13, 0, 1]))


def _by_code_points(points: CodePoints) -> DeclaredColor:
    if points.is_hdr:
        return DeclaredColor(hdr=points, full_range=points.full_range)
    return DeclaredColor(points.profile(), full_range=points.full_range)


def _code_points(image: Image.Image, data: bytes, chunks: Mapping[bytes, bytes]) -> CodePoints | None:
    """Return the code points that the container names, `None` where it names none or leaves both unspecified."""
    nclx = image.info.get("nclx_profile")
    cicp = chunks.get(b"cICP", b"")
    if isinstance(nclx, dict):
        # libheif and libavif expand the range while they decode, as part of Y'CbCr → R'G'B'.
        return _specified(nclx["color_primaries"], nclx["transfer_characteristics"], full_range=True)
    if image.format == "AVIF":
        # Writers put the photo's properties before those of its alpha plane and gain map.
        for box in item_properties(data, b"colr"):
            if box[:4] == b"nclx" and len(box) >= 8:
                return _specified(*struct.unpack_from(">HH", box, 4), full_range=True)
    # PNG has RGB only: any other matrix makes the chunk invalid.
    if len(cicp) == 4 and cicp[2] == 0:
        return _specified(cicp[0], cicp[1], full_range=cicp[3] != 0)
    return None


def _specified(primaries: int, transfer: int, *, full_range: bool) -> CodePoints | None:
    """Fill an unspecified number with sRGB's."""
    if primaries == transfer == UNSPECIFIED and full_range:
        return None
    filled = (1 if primaries == UNSPECIFIED else primaries, 13 if transfer == UNSPECIFIED else transfer)
    return CodePoints(*filled, full_range=full_range)


def _by_gamma(chunks: Mapping[bytes, bytes], notes: list[str]) -> bytes | None:
    """Build a profile of PNG's gAMA and cHRM; what is missing of the two is sRGB's."""
    gamma, points = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    space, curve, exponent = BT709, SRGB_CURVE, 0.0
    if len(gamma) == 4 and (value := struct.unpack(">I", gamma)[0]):
        exponent = _PNG_UNIT / value
        if not 0.2 <= exponent <= 5:
            notes.append(f"Its gAMA chunk ({value / _PNG_UNIT:g}) makes no sense and was left out.")
            exponent = 0.0
    if exponent:
        curve = Curve(exponent)
    if len(points) == 32:
        x_y = [value / _PNG_UNIT for value in struct.unpack(">8I", points)]
        white, red, green, blue = zip(x_y[::2], x_y[1::2], strict=True)
        try:
            space = Chromaticities(red, green, blue, white)
            space.to_pcs()
        except ValueError:
            notes.append("Its cHRM chunk makes no sense and was left out.")
            space = BT709
    if space == BT709 and curve is SRGB_CURVE:
        return None
    name = "primaries of cHRM" if space != BT709 else "sRGB primaries"
    return matrix_profile(f"{name}, {f'gamma {exponent:.3g}' if exponent else 'sRGB curve'}", space, curve)


def _adobe_rgb() -> bytes:
    return matrix_profile("Adobe RGB (1998)", ADOBE_RGB, Curve(_ADOBE_RGB_GAMMA))


def is_adobe_rgb_by_exif(image: Image.Image) -> bool:
    """Whether EXIF names Adobe RGB: by interoperability index R03 (DCF 2.0), or the 2 that cameras write."""
    try:
        with warnings.catch_warnings():
            # Of damaged entries, beside which the color may be whole.
            warnings.simplefilter("ignore")
            exif = image.getexif()
            space = exif.get_ifd(ExifTags.IFD.Exif).get(_COLOR_SPACE_TAG)
            index = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return False
    return space == _EXIF_ADOBE_RGB or (space in {None, _EXIF_UNCALIBRATED} and str(index).startswith("R03"))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of the chunks before a PNG's pixels, where color is told."""
    offset = 8
    while offset + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"IDAT":
            return
        yield kind, data[offset + 8 : offset + 8 + length]
        offset += 12 + length


def item_properties(data: bytes, wanted: bytes, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Bodies of one kind of item property (``colr``, ``av1C``) in an AVIF or HEIC file, in their order.

    Parameters
    ----------
    data
        The whole file.
    wanted
        The kind's four bytes.
    start, end
        Offsets of the boxes to search, in bytes; the whole file when not given.
    """
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start + 8)
        if not 8 <= size <= end - start:
            return
        if kind == wanted:
            yield data[start + 8 : start + size]
        elif kind in _CONTAINER_BOXES:
            yield from item_properties(data, wanted, start + 8 + _CONTAINER_BOXES[kind], start + size)
        start += size
