"""JPEG segments: what stands before and behind the picture, read strictly and written back."""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.metadata.exif import PREFIX as EXIF_PREFIX
from pocketcrafter.runtime.photo.metadata.model import Density, Metadata
from pocketcrafter.runtime.photo.metadata.photoshop import SIGNATURE as PHOTOSHOP
from pocketcrafter.runtime.photo.metadata.photoshop import iptc_of
from pocketcrafter.runtime.photo.metadata.stated import extension_id
from pocketcrafter.runtime.photo.metadata.words import Word, of_text
from pocketcrafter.runtime.photo.metadata.xmp import NOTE, properties

SEGMENT_BYTES: Final = 65_533
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\x00"
_EXTENSION: Final = b"http://ns.adobe.com/xmp/extension/\x00"
_EXTENSION_HEADER: Final = struct.Struct(">32sII")
_EXTENSION_CHUNK: Final = 65_400
_JFIF: Final = b"JFIF\x00"
_INDEX: Final = b"MPF\x00"
_CM_PER_INCH: Final = 2.54

_END, _SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP2, _APP13 = 0xE0, 0xE1, 0xE2, 0xED
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""
_READ_ELSEWHERE: Final = (
    (_APP2, b"ICC_PROFILE\x00"),
    (0xEE, b"Adobe"),
    (_APP0, b"JFXX\x00"),
    (_APP0, _JFIF),
    (_APP2, _INDEX),
)
"""Color and further frames, which decoders look after, and JFIF's own thumbnail, which shows the old photo."""
_SHORTEST: Final = ((_APP0, _JFIF, 14), (_APP2, b"ICC_PROFILE\x00", 14), (0xEE, b"Adobe", 12))
_NAMED: Final = (
    (_APP2, b"urn:iso:std:iso:ts:21496:-1\x00", Word.GAIN_MAP),
    (_APP2, b"FPXR\x00", "FlashPix streams"),
    (0xEB, b"JP", Word.JUMBF),
)
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class Segment(NamedTuple):
    """A marker of a JPEG and what follows it, without its length."""

    marker: int
    body: bytes


def read_jpeg(data: bytes) -> tuple[Metadata, bytes]:
    """Read what stands beside a JPEG's picture; of damaged segments, what is whole.

    Returns
    -------
    tuple[Metadata, bytes]
        What was read; and the JPEG without segments that are too short for what they claim to be, over which a decoder
        might stumble.
    """
    every, scan = _header(data)
    segments = [s for s in every if not _is_cut_off(s)]
    damaged = [f"APP{s.marker - 0xE0} segment (damaged)" for s in every if _is_cut_off(s)]
    found = Metadata(
        exif=_exif(segments),
        xmp=next((s.body[len(_XMP) :].rstrip(b"\x00") for s in _app1(segments, _XMP)), None),
        comments=tuple(s.body for s in segments if s.marker == _COMMENT),
        density=next((d for s in segments if (d := _density(s)) is not None), None),
    )
    resources = b"".join(
        s.body[len(PHOTOSHOP) :] for s in segments if s.marker == _APP13 and s.body.startswith(PHOTOSHOP)
    )
    iptc, left_out = iptc_of(resources)
    words = [*damaged, *left_out, *(word for s in segments if (word := _left_out(s)) is not None)]
    if any(s.marker == 0xEB and b"c2pa" in s.body for s in segments):
        words = [Word.CONTENT_CREDENTIALS if word == Word.JUMBF else word for word in words]
    trailer = data[_picture_end(data, scan) :].strip(b"\x00\xff")
    if trailer and not any(s.marker == _APP2 and s.body.startswith(_INDEX) for s in segments):
        words.append(Word.MOTION if b"ftyp" in trailer[:64] or b"MotionPhoto_Data" in trailer else Word.TRAILER)
    found = replace(found, iptc=iptc or None, extended_xmp=_extension(segments, found.xmp))
    if damaged:
        data = b"".join([data[:2], *(_written(*s) for s in segments), data[scan:]])
    return found.leaving_out(*words), data


def with_metadata(jpeg: bytes, metadata: Metadata) -> bytes:
    """Put into a JPEG that begins with a JFIF segment, and has no other, what of the metadata a JPEG holds."""
    head = 2 + 2 + int.from_bytes(jpeg[4:6], "big")
    jfif = bytearray(jpeg[2:head])
    if metadata.density is not None:
        struct.pack_into(">BHH", jfif, 11, *_jfif_density(metadata.density))
    return b"".join([jpeg[:2], jfif, *jpeg_segments(metadata)[0], jpeg[head:]])


def jpeg_segments(metadata: Metadata) -> tuple[list[bytes], tuple[str, ...]]:
    """Give the segments that hold metadata in a JPEG, behind JFIF's, and what is left out, in words."""
    words = [of_text(text.keyword) for text in metadata.texts if text.keyword != "Comment"]
    exif = None if metadata.exif is None else EXIF_PREFIX + metadata.exif
    if exif is not None and len(exif) > SEGMENT_BYTES:
        words.append(f"EXIF ({len(exif) >> 10} KiB, of which JPEG holds 64)")
        exif = None
    xmp, extended = metadata.xmp, metadata.extended_xmp
    if xmp is not None and len(xmp) + len(_XMP) > SEGMENT_BYTES:
        words.append(f"XMP ({len(xmp) >> 10} KiB, of which JPEG holds 64)")
        xmp = extended = None
    bodies = [] if exif is None else [(_APP1, exif)]
    bodies += [] if xmp is None else [(_APP1, _XMP + xmp)]
    bodies += [] if extended is None else [(_APP1, chunk) for chunk in _extension_chunks(extended)]
    room = SEGMENT_BYTES - len(PHOTOSHOP)
    iptc = metadata.iptc or b""
    bodies += [(_APP13, PHOTOSHOP + iptc[at : at + room]) for at in range(0, len(iptc), room)]
    comments = [*metadata.comments, *(t.text.encode() for t in metadata.texts if t.keyword == "Comment")]
    if any(len(comment) > SEGMENT_BYTES for comment in comments):
        words.append("a comment over 64 KiB")
    bodies += [(_COMMENT, comment) for comment in comments if len(comment) <= SEGMENT_BYTES]
    return [_written(marker, body) for marker, body in bodies], metadata.leaving_out(*words).left_out


def _written(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _is_cut_off(segment: Segment) -> bool:
    return any(
        segment.marker == marker and segment.body.startswith(start) and len(segment.body) < size
        for marker, start, size in _SHORTEST
    )


def _header(data: bytes) -> tuple[list[Segment], int]:
    """Return the segments before the first scan, and where they end; at damage, those before it."""
    segments, at = [], 2
    for marker, start, stop in _markers(data, 2):
        if marker in {_SCAN, _END}:
            break
        segments.append(Segment(marker, data[start:stop]))
        at = stop
    return segments, at


def _markers(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Give (marker, start, stop) of one segment after the other, up to the first byte that begins none."""
    while at + 1 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _END or marker in _ALONE:
            yield marker, at + 2, at + 2
            at += 2
            continue
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if stop < at + 4 or stop > len(data):
            return
        yield marker, at + 4, stop
        at = stop


def _picture_end(data: bytes, at: int) -> int:
    """Return where the picture's end marker ends; the data's end where there is none."""
    while True:
        scanned = None
        for marker, _, stop in _markers(data, at):
            if marker == _END:
                return stop
            if marker == _SCAN:
                scanned = _AFTER_SCAN.search(data, stop)
                break
        if scanned is None:
            return len(data)
        at = scanned.start()


def _app1(segments: Iterable[Segment], prefix: bytes) -> Iterator[Segment]:
    return (s for s in segments if s.marker == _APP1 and s.body.startswith(prefix))


def _exif(segments: list[Segment]) -> bytes | None:
    """Join EXIF that was split over several segments, of which the first alone has a TIFF header."""
    blocks = [s.body[len(EXIF_PREFIX) :] for s in _app1(segments, EXIF_PREFIX)]
    more = [block for block in blocks[1:] if block[:2] not in {b"II", b"MM"}]
    return b"".join([blocks[0], *more]) if blocks else None


def _density(segment: Segment) -> Density | None:
    if segment.marker != _APP0 or not segment.body.startswith(_JFIF) or len(segment.body) < 12:
        return None
    unit, x, y = struct.unpack_from(">BHH", segment.body, 7)
    if min(x, y) == 0 or unit > 2 or (unit == 0 and x == y):
        return None
    scale = _CM_PER_INCH if unit == 2 else 1
    return Density(x * scale, y * scale, is_ratio=unit == 0)


def _jfif_density(density: Density) -> tuple[int, int, int]:
    x, y = density.x, density.y
    if density.is_ratio and max(x, y) > 65_535:
        x, y = x * 65_535 / max(x, y), y * 65_535 / max(x, y)
    x, y = (min(max(round(side), 1), 65_535) for side in (x, y))
    return 0 if density.is_ratio else 1, x, y


def _extension(segments: list[Segment], xmp: bytes | None) -> bytes | None:
    """Put the extension together that the first packet names; none unless its pieces fit without gap or overlap."""
    if xmp is None:
        return None
    try:
        names = [p.value for p in properties(xmp) if (p.namespace, p.name) == (NOTE, "HasExtendedXMP")]
    except PhotoError:
        return None
    pieces: dict[int, bytes] = {}
    sizes = set()
    start = len(_EXTENSION) + _EXTENSION_HEADER.size
    for segment in _app1(segments, _EXTENSION):
        if len(segment.body) < start:
            return None
        name, size, offset = _EXTENSION_HEADER.unpack_from(segment.body, len(_EXTENSION))
        if name in names:
            pieces[offset] = segment.body[start:]
            sizes.add(size)
    ordered = sorted(pieces)
    ends = [offset + len(pieces[offset]) for offset in ordered]
    if ordered[:1] != [0] or ordered[1:] != ends[:-1] or sizes != {ends[-1]}:
        return None
    return b"".join(pieces[offset] for offset in ordered)


def _extension_chunks(extended: bytes) -> Iterator[bytes]:
    name = extension_id(extended).encode()
    for at in range(0, len(extended), _EXTENSION_CHUNK):
        header = _EXTENSION_HEADER.pack(name, len(extended), at)
        yield _EXTENSION + header + extended[at : at + _EXTENSION_CHUNK]


def _left_out(segment: Segment) -> str | None:
    """Say what an application segment is that is neither carried nor read elsewhere."""
    marker, body = segment
    if not 0xE0 <= marker <= 0xEF or any(marker == m and body.startswith(start) for m, start in _READ_ELSEWHERE):
        return None
    for named, start, word in _NAMED:
        if marker == named and body.startswith(start):
            return word
    carried = {_APP1: (EXIF_PREFIX, _XMP, _EXTENSION), _APP13: (PHOTOSHOP,)}.get(marker, ())
    if body.startswith(carried) and carried:
        return None
    name = re.match(rb"[A-Za-z0-9 _./:-]{0,20}", body)
    label = "" if name is None or not name[0] else f" '{name[0].decode()}'"
    return f"APP{marker - 0xE0} segment{label}"
