"""Metadata by container: which reader a file gets; and WebP, HEIC and AVIF, which hold EXIF and XMP alone."""

from collections.abc import Mapping
from typing import Any, Final

from pocketcrafter.runtime.photo.metadata.exif import states_density
from pocketcrafter.runtime.photo.metadata.jpeg import read_jpeg
from pocketcrafter.runtime.photo.metadata.model import Metadata
from pocketcrafter.runtime.photo.metadata.png import read_png
from pocketcrafter.runtime.photo.metadata.words import Word, of_text

_WEBP_PICTURE: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_C2PA_BOX: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def read(data: bytes) -> tuple[Metadata | None, bytes]:
    """Read what stands beside a JPEG's, PNG's or WebP's picture, whatever its name says.

    Returns
    -------
    tuple[Metadata or None, bytes]
        What was read, of damaged blocks nothing; `None` for the other containers, of which :func:`read_items` reads it
        when they are open. And the file for the decoder, without chunks that it might stumble over.
    """
    if data.startswith(b"\xff\xd8"):
        return read_jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return read_png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return read_webp(data), data
    return None, data


def read_webp(data: bytes) -> Metadata:
    """Read what stands beside a WebP's picture; of chunks that are cut off, nothing."""
    blocks: dict[bytes, bytes] = {}
    words: list[str] = []
    size = min(8 + int.from_bytes(data[4:8], "little"), len(data))
    at = 12
    while at + 8 <= size:
        kind, stop = data[at : at + 4], at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if stop > size:
            break
        if kind in {b"EXIF", b"XMP "}:
            blocks.setdefault(kind, data[at + 8 : stop])
        elif kind not in _WEBP_PICTURE:
            name = "".join(chr(c) if 0x20 < c < 0x7F else "?" for c in kind)
            words.append(Word.CONTENT_CREDENTIALS if kind == b"C2PA" else f"{name} chunk")
        at = stop + stop % 2
    if data[size:].strip(b"\x00"):
        words.append(Word.TRAILER)
    return Metadata(exif=blocks.get(b"EXIF"), xmp=blocks.get(b"XMP ")).leaving_out(*words)


def read_items(data: bytes, info: Mapping[Any, Any]) -> Metadata:
    """Read what stands beside a HEIC's or AVIF's picture.

    Parameters
    ----------
    data
        The file.
    info
        What Pillow or pillow-heif says of the opened file: they walk the items' boxes.
    """
    exif, xmp = info.get("exif"), info.get("xmp")
    kinds = [str(kind) for kind in info.get("aux", {})]
    words: list[str] = []
    if any("gainmap" in kind.lower() for kind in kinds):
        words.append(Word.GAIN_MAP)
    if info.get("depth_images"):
        words.append(Word.DEPTH)
    if any("matte" in kind.lower() for kind in kinds):
        words.append("mattes")
    if info.get("metadata"):
        words.append("other metadata items")
    words += _beside_items(data)
    return Metadata(
        exif=exif if isinstance(exif, bytes) else None, xmp=xmp if isinstance(xmp, bytes) else None
    ).leaving_out(*words)


def exif_and_xmp(metadata: Metadata) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Give the two blocks that such a container holds, by Pillow's names, and what is left out, in words."""
    metadata = metadata.without_extended_xmp()
    lost = {
        "IPTC": metadata.iptc is not None,
        "JPEG comment": bool(metadata.comments),
        f"{metadata.density}": metadata.density is not None
        and not (metadata.exif is not None and states_density(metadata.exif)),
    } | {of_text(text.keyword): True for text in metadata.texts}
    words = (what for what, is_lost in lost.items() if is_lost)
    blocks = {"exif": metadata.exif, "xmp": metadata.xmp}
    held = {name: block for name, block in blocks.items() if block is not None}
    return held, metadata.leaving_out(*words).left_out


def _beside_items(data: bytes) -> list[str]:
    """Name what the file's outermost boxes hold that is no item of the picture, and what follows the last of them."""
    words: list[str] = []
    at = 0
    while at + 8 <= len(data):
        size, kind, header = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = len(data) - at
        if not header <= size <= len(data) - at:
            break
        if kind == b"uuid" and data[at + header : at + header + 16] == _C2PA_BOX:
            words.append(Word.CONTENT_CREDENTIALS)
        elif kind == b"mpvd":
            words.append(Word.MOTION)
        at += size
    return [*words, Word.TRAILER] if data[at:].strip(b"\x00") else words
