"""PNG chunks beside the picture: EXIF, XMP, texts and density, and ImageMagick's raw profiles among the texts."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.metadata.exif import PREFIX as EXIF_PREFIX
from pocketcrafter.runtime.photo.metadata.model import Density, Metadata, Text
from pocketcrafter.runtime.photo.metadata.photoshop import SIGNATURE as PHOTOSHOP
from pocketcrafter.runtime.photo.metadata.photoshop import iptc_of
from pocketcrafter.runtime.photo.metadata.words import Word

Chunk = tuple[bytes, bytes]
"""A PNG chunk: its type and its content."""

_XMP_KEYWORD: Final = "XML:com.adobe.xmp"
_XMP_HEADER: Final = b"http://ns.adobe.com/xap/1.0/\x00"
_RAW_PROFILE: Final = "Raw profile type "
_TEXTS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_METADATA: Final = _TEXTS | {b"eXIf", b"pHYs", b"caBX"}
_PICTURE: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP mDCV cLLI mDCv cLLi sBIT bKGD hIST sPLT acTL fcTL fdAT iDOT "
    b"tIME".split()
)
"""What decoders look after, what describes the old file's compression, and the time of its last change."""
_PIXELS: Final = frozenset({b"PLTE", b"IDAT"})
_MAX_TEXT_BYTES: Final = 64 << 20
"""Of all texts of a picture together, inflated."""
_INCHES_PER_METRE: Final = 1 / 0.0254
_COMPRESSED_FROM: Final = 1024


def read_png(data: bytes) -> tuple[Metadata, bytes]:
    """Read what stands beside a PNG's picture.

    Returns
    -------
    tuple[Metadata, bytes]
        What was read, of damaged chunks nothing; and the PNG without the chunks over which a decoder might stumble. It
        keeps EXIF, which says of some cameras' colors.

    Raises
    ------
    PhotoError
        If the checksum of coded pixels is wrong: Pillow does not look at it, and shows what a flipped bit made of them.
    """
    reader = _Reader()
    picture, at, kind = [data[:8]], 8, b""
    for kind, start, stop in _chunks(data):
        if kind in _METADATA:
            is_whole = _is_whole(data, start, stop)
            reader.read(kind, data[start + 8 : stop - 4] if is_whole else None)
            is_harmless = is_whole and kind == b"eXIf"
        else:
            is_harmless = True
            if kind in _PIXELS and not _is_whole(data, start, stop):
                raise PhotoError(f"the checksum of its pixels is wrong ({_printable(kind)} chunk at byte {start})")
            if kind not in _PICTURE:
                reader.leave_out(f"{_printable(kind)} chunk")
        picture += [data[start:stop]] if is_harmless else []
        at = stop
    if kind == b"IEND" and data[at:].strip(b"\x00"):
        reader.leave_out(Word.TRAILER)
    return reader.metadata(), b"".join([*picture, data[at:]])


def lacks_end_chunk(png: bytes) -> bool:
    """Whether the file ends before its end chunk does."""
    return all(kind != b"IEND" for kind, _, _ in _chunks(png))


def png_chunks(metadata: Metadata) -> tuple[list[Chunk], tuple[str, ...]]:
    """Give the chunks that hold metadata in a PNG, and what is left out, in words."""
    metadata = metadata.without_extended_xmp()
    chunks: list[Chunk] = []
    if metadata.density is not None:
        chunks.append((b"pHYs", _physical(metadata.density)))
    if metadata.exif is not None:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        chunks.append((b"iTXt", _XMP_KEYWORD.encode() + b"\x00\x00\x00\x00\x00" + metadata.xmp))
    if metadata.iptc is not None:
        chunks.append(_text_chunk(Text(f"{_RAW_PROFILE}iptc", _as_raw_profile("iptc", metadata.iptc))))
    comments = [Text("Comment", _decoded(comment)) for comment in metadata.comments]
    return chunks + [_text_chunk(text) for text in (*metadata.texts, *comments)], metadata.left_out


class _Reader:
    """Gathers metadata chunk by chunk."""

    def __init__(self) -> None:
        self._found = Metadata()
        self._texts: list[Text] = []
        self._left_out: list[str] = []
        self._raw_profiles: dict[str, bytes] = {}
        self._budget = _MAX_TEXT_BYTES

    def leave_out(self, word: str) -> None:
        self._left_out.append(word)

    def read(self, kind: bytes, body: bytes | None) -> None:
        """Take a chunk in; one without a body is damaged."""
        if body is None:
            self.leave_out(f"{kind.decode()} chunk (damaged)")
        elif kind == b"eXIf":
            self._found = replace(self._found, exif=body)
        elif kind == b"pHYs":
            self._found = replace(self._found, density=_density(body))
        elif kind == b"caBX":
            self.leave_out(Word.CONTENT_CREDENTIALS)
        else:
            text = _text(kind, body, self._budget)
            if text is None:
                self.leave_out(f"{kind.decode()} chunk (damaged)")
            else:
                self._budget -= len(text.text)
                self._take(text)

    def _take(self, text: Text) -> None:
        if text.keyword == _XMP_KEYWORD:
            self._found = replace(self._found, xmp=text.text.encode())
        elif text.keyword.startswith(_RAW_PROFILE):
            profile = _from_raw_profile(text.text)
            if profile is None:
                self.leave_out(f"'{_printable(text.keyword.encode())}' (damaged)")
            else:
                self._raw_profiles[text.keyword.removeprefix(_RAW_PROFILE).lower()] = profile
        else:
            self._texts.append(text)

    def metadata(self) -> Metadata:
        """Return everything; chunks of their own go before the raw profiles of the same thing."""
        found, profiles = self._found, self._raw_profiles
        app1 = profiles.get("app1", b"")
        xmp = app1.removeprefix(_XMP_HEADER) if app1.startswith(_XMP_HEADER) else profiles.get("xmp")
        exif = profiles.get("exif", app1 if app1.startswith(EXIF_PREFIX) else None)
        resources = profiles.get("8bim", profiles.get("iptc", b"")).removeprefix(PHOTOSHOP)
        iptc, words = iptc_of(resources)
        others = [f"'{_printable((_RAW_PROFILE + name).encode())}'" for name in profiles if name not in _PROFILES]
        return replace(
            found,
            exif=exif if found.exif is None else found.exif,
            xmp=xmp if found.xmp is None else found.xmp,
            iptc=iptc or None,
            texts=tuple(self._texts),
        ).leaving_out(*self._left_out, *words, *others)


_PROFILES: Final = frozenset({"exif", "app1", "xmp", "iptc", "8bim"})


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give (type, start, stop) of the chunks that are whole, up to the last."""
    at, kind = 8, b""
    while at + 12 <= len(data) and kind != b"IEND":
        kind = data[at + 4 : at + 8]
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if stop > len(data):
            return
        yield kind, at, stop
        at = stop


def _is_whole(data: bytes, start: int, stop: int) -> bool:
    """Whether a chunk's checksum is right."""
    return zlib.crc32(memoryview(data)[start + 4 : stop - 4]) == int.from_bytes(data[stop - 4 : stop], "big")


def _text(kind: bytes, body: bytes, budget: int) -> Text | None:
    """Read a text chunk; none where it is not one, or inflates to more than ``budget`` bytes."""
    keyword, separator, rest = body.partition(b"\x00")
    if not separator or not 1 <= len(keyword) <= 79:
        return None
    language = translated = b""
    is_compressed, encoding = kind == b"zTXt", "latin-1"
    if kind == b"iTXt":
        encoding = "utf-8"
        is_compressed, method, rest = rest[:1] == b"\x01", rest[1:2], rest[2:]
        language, _, rest = rest.partition(b"\x00")
        translated, separator, rest = rest.partition(b"\x00")
    elif is_compressed:
        method, rest = rest[:1], rest[1:]
    try:
        if is_compressed:
            inflate = zlib.decompressobj()
            rest = inflate.decompress(rest, max(budget, 1)) if method == b"\x00" else b""
            if not inflate.eof:
                return None
        if not separator or len(rest) > budget:
            return None
        return Text(keyword.decode("latin-1"), rest.decode(encoding), language.decode("ascii"), translated.decode())
    except (zlib.error, UnicodeDecodeError):
        return None


def _text_chunk(text: Text) -> Chunk:
    keyword = text.keyword.encode("latin-1") + b"\x00"
    if not text.language and not text.translated:
        try:
            body = text.text.encode("latin-1")
        except UnicodeEncodeError:
            pass
        else:
            if b"\x00" not in body and len(body) < _COMPRESSED_FROM:
                return b"tEXt", keyword + body
            return b"zTXt", keyword + b"\x00" + zlib.compress(body)
    is_long = len(text.text) >= _COMPRESSED_FROM
    body = zlib.compress(text.text.encode()) if is_long else text.text.encode()
    named = text.language.encode() + b"\x00" + text.translated.encode() + b"\x00"
    return b"iTXt", keyword + bytes([is_long, 0]) + named + body


def _from_raw_profile(text: str) -> bytes | None:
    """Read a raw profile: a line with its name, one with its length, and as many bytes in hexadecimal."""
    words = text.split(maxsplit=2)
    if len(words) != 3 or not words[1].isdecimal():
        return None
    try:
        profile = bytes.fromhex(words[2])
    except ValueError:
        return None
    return profile if str(len(profile)) == words[1].lstrip("0") else None


def _as_raw_profile(name: str, profile: bytes) -> str:
    digits = profile.hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return "\n".join(["", name, f"{len(profile):8d}", *lines, ""])


def _density(body: bytes) -> Density | None:
    if len(body) != 9:
        return None
    x, y, unit = struct.unpack(">IIB", body)
    if min(x, y) == 0 or unit > 1 or (unit == 0 and x == y):
        return None
    scale = 1 if unit == 0 else 1 / _INCHES_PER_METRE
    return Density(x * scale, y * scale, is_ratio=unit == 0)


def _physical(density: Density) -> bytes:
    scale = 1 if density.is_ratio else _INCHES_PER_METRE
    x, y = (min(max(round(side * scale), 1), (1 << 31) - 1) for side in (density.x, density.y))
    return struct.pack(">IIB", x, y, 0 if density.is_ratio else 1)


def _decoded(comment: bytes) -> str:
    """Read a JPEG comment, of which nobody says how it is encoded."""
    try:
        return comment.rstrip(b"\x00").decode()
    except UnicodeDecodeError:
        return comment.rstrip(b"\x00").decode("latin-1")


def _printable(name: bytes) -> str:
    return "".join(chr(c) if 0x20 <= c < 0x7F else "?" for c in name)
