"""Fuzz targets: whole photos, decoded to pixels."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from PIL import Image

from pocketcrafter.benchmarks.common.names import Format
from pocketcrafter.benchmarks.fuzz.containers import (
    ascii_text,
    exif,
    heic,
    icc_profile,
    into_jpeg,
    long,
    png,
    saved,
    short,
)
from pocketcrafter.benchmarks.fuzz.target import Target, hold, with_sound_checksums
from pocketcrafter.runtime.photo import decode

_SIDE: Final = 24


def _photo(content: bytes) -> None:
    photo = decode(content)
    hold(photo.pixels.shape[2:] == (3,) and photo.pixels.flags.c_contiguous, "pixels are (H, W, 3), C-contiguous")
    hold(photo.pixels.dtype in {np.dtype(np.uint8), np.dtype(np.uint16)}, "pixels are of 8 or 16 bits")
    if photo.alpha is not None:
        hold(photo.alpha.shape == photo.pixels.shape[:2], "opacity is of the pixels' size")
        hold(photo.alpha.dtype == photo.pixels.dtype, "opacity is of the pixels' type")
    hold(photo.metadata.orientation == 1, "what is decoded is upright")
    hold(all(note and note.isprintable() for note in photo.notes), "notes can be printed")


def _pixels(channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(channels).integers(0, 256, (_SIDE, _SIDE, channels), dtype=np.uint8)


def _exif() -> bytes:
    tags = {0x0112: short(6), 0x010F: ascii_text("Maker")}
    return exif(tags, {0xA001: short(2), 0xA002: long(_SIDE)}, thumbnail=b"\xff\xd8\xff\xd9")


def _jpegs() -> Sequence[bytes]:
    color = Image.fromarray(_pixels(3))
    plain = saved(color, "JPEG", quality=60)
    return (
        plain,
        saved(color, "JPEG", quality=60, progressive=True),
        saved(color.convert("L"), "JPEG", quality=60),
        saved(color.convert("CMYK"), "JPEG", quality=60),
        saved(color, "JPEG", quality=60, icc_profile=icc_profile("adobe-rgb")),
        into_jpeg(plain, (0xE1, b"Exif\0\0" + _exif()), (0xFE, b"comment"), (0xE2, b"MPF\0II*\0\x08\0\0\0")),
        plain[:-2],
    )


def _pngs() -> Sequence[bytes]:
    deep = _pixels(4).astype(np.uint16) * 257
    grey = _pixels(1)
    return (
        png(_pixels(3), 8, (b"gAMA", struct.pack(">I", 45_455)), (b"tEXt", b"Title\0a"), (b"eXIf", _exif())),
        png(deep, 16, (b"cICP", bytes([9, 16, 0, 1]))),
        png(deep[..., :2], 16, interlaced=True),
        png(grey & 3, 2, palette=bytes(range(12))),
        png(grey & 1, 1, interlaced=True),
        png(_pixels(3), 8, (b"iCCP", b"p\0\0" + zlib.compress(icc_profile("display-p3")))),
        saved(Image.fromarray(_pixels(3)), "PNG", save_all=True, append_images=[Image.fromarray(_pixels(3))]),
    )


def _webps() -> Sequence[bytes]:
    color, clear = Image.fromarray(_pixels(3)), Image.fromarray(_pixels(4))
    return (
        saved(color, "WEBP", quality=60),
        saved(clear, "WEBP", lossless=True, exif=_exif()),
        saved(color, "WEBP", quality=60, icc_profile=icc_profile("display-p3"), xmp=b"<x/>"),
        saved(color, "WEBP", save_all=True, append_images=[color.rotate(90)]),
    )


def _heics() -> Sequence[bytes]:
    deep = _pixels(3).astype(np.uint16) * 4
    return (
        saved(Image.fromarray(_pixels(3)), "HEIF", quality=40, exif=_exif()),
        heic(deep, "RGB;10", bit_depth=10, color_primaries=9, transfer_characteristics=16),
        heic(_pixels(4), "RGBA", icc_profile=icc_profile("display-p3")),
    )


def _avifs() -> Sequence[bytes]:
    color = Image.fromarray(_pixels(3))
    return (
        saved(color, "AVIF", quality=40, exif=_exif()),
        saved(Image.fromarray(_pixels(4)), "AVIF", quality=40, icc_profile=icc_profile("display-p3")),
        saved(color, "AVIF", save_all=True, append_images=[color.rotate(90)], quality=40),
    )


TARGETS: Final[Mapping[Format, Target]] = {
    name: Target(read, seeds, most_cpu_s=60.0, most_mib=4096.0)
    for name, read, seeds in (
        (Format.JPEG, _photo, _jpegs),
        (Format.PNG, with_sound_checksums(_photo), _pngs),
        (Format.WEBP, _photo, _webps),
        (Format.HEIC, _photo, _heics),
        (Format.AVIF, _photo, _avifs),
    )
}
