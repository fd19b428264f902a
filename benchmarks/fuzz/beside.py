"""Fuzz targets: what stands beside the pixels, and what says how they are colored."""

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
    icc_grey_profile,
    icc_profile,
    into_jpeg,
    into_png,
    into_riff,
    long,
    png,
    saved,
    short,
)
from pocketcrafter.benchmarks.fuzz.target import Target, hold, with_sound_checksums
from pocketcrafter.runtime.photo.color import grey_to_srgb, handling_of, is_usable, name_of, pixels_to_srgb
from pocketcrafter.runtime.photo.hdr import tone_mapped
from pocketcrafter.runtime.photo.icc import CodePoints
from pocketcrafter.runtime.photo.metadata import Metadata
from pocketcrafter.runtime.photo.metadata import exif as exif_blocks
from pocketcrafter.runtime.photo.metadata.containers import exif_and_xmp, read_webp
from pocketcrafter.runtime.photo.metadata.jpeg import jpeg_segments, read_jpeg
from pocketcrafter.runtime.photo.metadata.photoshop import iptc_of
from pocketcrafter.runtime.photo.metadata.png import png_chunks, read_png
from pocketcrafter.runtime.photo.metadata.stated import orientation_of

_WIDTH, _HEIGHT = 300, 200
_EXTENSION_MARK: Final = b" "
"""Before packets that are read as the extension of another one."""


def _carried(metadata: Metadata) -> None:
    """Take metadata through an edit, a crop, and into every container."""
    edited = metadata.of_edited(metadata.orientation, _WIDTH, _HEIGHT)
    hold(edited.orientation == 1, "edited photos are upright")
    for held in (edited, edited.cropped(_WIDTH // 2, _HEIGHT // 2)):
        for told in (jpeg_segments(held)[1], png_chunks(held)[1], exif_and_xmp(held)[1]):
            hold(all(word.isprintable() for word in told), "what is left out can be printed")


def _jpeg(content: bytes) -> None:
    metadata, rest = read_jpeg(content)
    hold(len(rest) <= len(content), "a JPEG does not grow when it is read")
    _carried(metadata)


def _png(content: bytes) -> None:
    metadata, rest = read_png(content)
    hold(len(rest) <= len(content), "a PNG does not grow when it is read")
    _carried(metadata)


def _webp(content: bytes) -> None:
    _carried(read_webp(content))


def _exif(content: bytes) -> None:
    exif_blocks.states_density(content)
    for orientation in range(1, 9):
        upright = exif_blocks.upright_exif(content, orientation, _WIDTH, _HEIGHT)
        if upright is not None:
            hold(len(upright) <= len(content), "a block does not grow")
            hold(exif_blocks.orientation_of(upright) in {None, 1}, "a block is upright after it was made so")
            exif_blocks.without_positions(exif_blocks.without_orientation(upright))
    _carried(Metadata(exif=content))


def _xmp(content: bytes) -> None:
    orientation_of(content)
    if content.startswith(_EXTENSION_MARK):
        _carried(Metadata(xmp=_packet(b'n:HasExtendedXMP="0"'), extended_xmp=content))
    else:
        _carried(Metadata(xmp=content))


def _iptc(content: bytes) -> None:
    chosen, _ = iptc_of(content)
    hold(iptc_of(chosen) == (chosen, ()), "what was chosen is chosen again")


def _icc(content: bytes) -> None:
    name_of(content)
    for channels in ("RGB", "GRAY", "CMYK"):
        if is_usable(content, channels) and channels == "GRAY":
            grey_to_srgb(np.arange(256, dtype=np.uint8), content)
        elif is_usable(content, channels) and channels == "RGB":
            handling_of(content)
            if content[-1] % 8 == 0:
                # Its curves are read at all of their 65536 levels, which takes as long as all the rest.
                pixels_to_srgb(np.arange(48, dtype=np.uint16).reshape(4, 4, 3) * np.uint16(1000), content)


def _code_points(content: bytes) -> None:
    primaries, transfer, full_range = content[:3].ljust(3, b"\0")
    points = CodePoints(primaries, transfer, full_range=full_range > 0)
    if not points.is_known:
        return
    if not points.is_hdr:
        profile = points.profile()
        hold(profile is None or is_usable(profile, "RGB"), "a profile that is built can be used")
        return
    samples = np.frombuffer(content[3:51].ljust(48, b"\xff"), np.uint8).reshape(4, 4, 3)
    for pixels in (samples, samples.astype(np.uint16) * np.uint16(257)):
        mapped, _, _ = tone_mapped(pixels, points)
        hold(mapped.shape == pixels.shape and mapped.dtype == pixels.dtype, "tone mapping keeps shape and type")


def _exifs() -> Sequence[bytes]:
    tags = {0x0112: short(6), 0x010F: ascii_text("Maker of Cameras"), 0x011A: (5, struct.pack("<II", 300, 1))}
    tags |= {0x011B: (5, struct.pack("<II", 72, 1)), 0x0100: long(9), 0x0101: long(7)}
    camera = {0xA001: short(2), 0xA002: long(9), 0xA003: short(7), 0x927C: (7, b"maker note")}
    camera |= {0x9214: (3, struct.pack("<4H", 5, 6, 2, 2)), 0xA214: (3, struct.pack("<2H", 3, 4))}
    big = exif({0x0112: short(8, ">")}, {0xA002: long(9, ">")}, b"\xff\xd8thumb\xff\xd9", order=">")
    return exif(tags, camera, b"\xff\xd8thumb\xff\xd9"), exif({0x0112: short(3)}), big


def _packet(attributes: bytes) -> bytes:
    spaces = b" ".join(
        b'xmlns:%s="%s"' % pair
        for pair in (
            (b"rdf", b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"),
            (b"tiff", b"http://ns.adobe.com/tiff/1.0/"),
            (b"n", b"http://ns.adobe.com/xmp/note/"),
            (b"c", b"http://ns.google.com/photos/1.0/camera/"),
            (b"h", b"http://ns.adobe.com/hdr-gain-map/1.0/"),
            (b"i", b"http://ns.google.com/photos/1.0/container/item/"),
        )
    )
    inner = b'<rdf:Seq><rdf:li i:Semantic="GainMap">a</rdf:li></rdf:Seq><tiff:Orientation>6</tiff:Orientation>'
    description = b'<rdf:Description rdf:about="" %s>%s</rdf:Description>' % (attributes, inner)
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF %s>%s</rdf:RDF></x:xmpmeta>' % (spaces, description)


def _packets() -> Sequence[bytes]:
    said = (b'tiff:Orientation="6"', b'n:HasExtendedXMP="0"', b"c:MotionPhoto='1' h:Version='1.0'", b"")
    packets = [_packet(attributes) for attributes in said]
    return *packets, _EXTENSION_MARK + packets[2]


def _resources() -> Sequence[bytes]:
    record = b"\x1c\x02\x78\0\x09A caption"
    blocks = [b"8BIM" + struct.pack(">HHI", kind, 0, len(record)) + record for kind in (0x0404, 0x0425, 0x040C, 0x0BB7)]
    return record, b"".join(blocks), blocks[0] + b"8BIM\x04\x0a\x03abc\0\0\0\x01\x01\0"


def _jpegs() -> Sequence[bytes]:
    plain = saved(Image.new("RGB", (8, 8)), "JPEG", quality=20, optimize=True)
    packets = [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet) for packet in _packets()]
    extension = (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 4, 0) + b"<a/>")
    return (
        into_jpeg(plain, (0xE1, b"Exif\0\0" + _exifs()[0]), (0xFE, b"comment"), (0xEB, b"JP c2pa")),
        into_jpeg(plain, (0xED, b"Photoshop 3.0\0" + _resources()[1]), (0xE5, b"other")),
        into_jpeg(plain, packets[1], extension) + b"MotionPhoto_Data",
        into_jpeg(plain, packets[0], (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe")),
    )


def _pngs() -> Sequence[bytes]:
    plain = png(np.zeros((2, 2, 3), np.uint8), 8)
    raw = b"\nexif\n      12\n" + b"4578696600004d4d002a0000" + b"\n"
    return (
        into_png(plain, (b"eXIf", _exifs()[1]), (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)), (b"tEXt", b"A\0b")),
        into_png(plain, (b"zTXt", b"A\0\0" + zlib.compress(b"text")), (b"iTXt", b"A\0\0\0de\0B\0text"), (b"quIz", b"")),
        into_png(plain, (b"tEXt", b"Raw profile type exif\0" + raw), (b"caBX", b"credentials")),
        into_png(plain, (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _packets()[0])),
    )


def _webps() -> Sequence[bytes]:
    plain = saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True, exif=_exifs()[1])
    return into_riff(plain, (b"XMP ", _packets()[0]), (b"C2PA", b"a"), (b"QQQQ", b"abc")), plain


def _iccs() -> Sequence[bytes]:
    built = CodePoints(12, 13).profile() or b""
    return icc_profile("adobe-rgb"), icc_profile("srgb"), icc_grey_profile(1.0), built


TARGETS: Final[Mapping[Format, Target]] = {
    Format.JPEG_SEGMENTS: Target(_jpeg, _jpegs),
    Format.PNG_CHUNKS: Target(with_sound_checksums(_png), _pngs),
    Format.WEBP_CHUNKS: Target(_webp, _webps),
    Format.EXIF: Target(_exif, _exifs),
    Format.XMP: Target(_xmp, _packets),
    Format.IPTC: Target(_iptc, _resources),
    Format.ICC: Target(_icc, _iccs),
    Format.CODE_POINTS: Target(_code_points, lambda: [bytes([9, 16, 255, *range(48)]), bytes([12, 13, 0])]),
}
