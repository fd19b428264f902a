"""What an XMP packet states of its file: kept true after an edit, or taken out and named."""

import hashlib
from collections.abc import Mapping
from typing import Final

from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.metadata.words import Word
from pocketcrafter.runtime.photo.metadata.xmp import (
    EXIF,
    META,
    NOTE,
    RDF,
    TIFF,
    XAP,
    Property,
    properties,
    with_values,
    without,
)

_EXTENSION: Final = (NOTE, "HasExtendedXMP")
_ORIENTATION: Final = (TIFF, "Orientation")
_WIDTHS: Final = ((TIFF, "ImageWidth"), (EXIF, "PixelXDimension"))
_HEIGHTS: Final = ((TIFF, "ImageLength"), (EXIF, "PixelYDimension"))

_CAMERA: Final = "http://ns.google.com/photos/1.0/camera/"
_CONTAINER: Final = "http://ns.google.com/photos/1.0/container/"
_ITEM: Final = f"{_CONTAINER}item/"
_DYNAMIC_DEPTH: Final = "http://ns.google.com/photos/dd/1.0/"
_ABOUT: Final[Mapping[str, Word]] = {
    "http://ns.adobe.com/hdr-gain-map/1.0/": Word.GAIN_MAP,
    "http://ns.apple.com/HDRGainMap/1.0/": Word.GAIN_MAP,
    "http://ns.google.com/photos/1.0/depthmap/": Word.DEPTH,
    "http://ns.google.com/photos/1.0/image/": Word.DEPTH,
    "http://ns.google.com/photos/1.0/audio/": Word.SOUND,
}
"""Namespaces of which every property is about something else in the file."""
_REGIONS: Final = frozenset(
    {"http://www.metadataworkinggroup.com/schemas/regions/", "http://ns.microsoft.com/photo/1.2/"}
)
_SEMANTICS: Final = {b"GainMap": Word.GAIN_MAP, b"MotionPhoto": Word.MOTION, b"Depth": Word.DEPTH}


def orientation_of(packet: bytes) -> int | None:
    """Return the orientation that a packet states; `None` without one, and where the packet is damaged."""
    try:
        values = [p.value.strip() for p in properties(packet) if (p.namespace, p.name) == _ORIENTATION]
    except PhotoError:
        return None
    return int(values[0]) if values and values[0] in {b"%d" % k for k in range(1, 9)} else None


def upright_xmp(packet: bytes) -> bytes:
    """Reset the orientation to 1 where a packet states one; the rest stays byte for byte.

    Raises
    ------
    PhotoError
        If the packet is damaged.
    """
    return with_values(packet, {_ORIENTATION: "1"})


def resized_xmp(packet: bytes, width: int, height: int) -> bytes:
    """Set the widths and heights in pixels that a packet states.

    Parameters
    ----------
    packet
        The XMP packet, UTF-8.
    width, height
        In pixels.

    Raises
    ------
    PhotoError
        If the packet is damaged.
    """
    return with_values(packet, dict.fromkeys(_WIDTHS, str(width)) | dict.fromkeys(_HEIGHTS, str(height)))


def without_announcements(packet: bytes) -> tuple[bytes, set[str]]:
    """Take out what a packet says of things that an edited file does not have, and of the old photo's looks.

    Returns
    -------
    tuple[bytes, set[str]]
        The packet, and what it announced.

    Raises
    ------
    PhotoError
        If the packet is damaged.
    """
    found = properties(packet)
    words = {_SEMANTICS.get(p.value, Word.FURTHER_PICTURES) for p in found if _is_further_item(p)}
    words |= {word for p in found if (word := _announced(p)) is not None}
    unwanted = {_CONTAINER, _ITEM}
    rest = without(packet, lambda p: p.namespace in unwanted or _announced(p) is not None or _is_thumbnail(p))
    return rest, set(words)


def without_positions(packet: bytes) -> bytes:
    """Take out where in the frame faces are, for a photo whose frame is another one now.

    Raises
    ------
    PhotoError
        If the packet is damaged.
    """
    return without(packet, lambda p: p.namespace in _REGIONS)


def announces_extension(packet: bytes) -> bool:
    """Whether a packet says that the file has a second one."""
    return any((p.namespace, p.name) == _EXTENSION for p in properties(packet))


def with_extension(packet: bytes, extended: bytes | None) -> bytes:
    """Make a packet that announces an extension announce this one, or none."""
    if extended is None:
        return without(packet, lambda p: (p.namespace, p.name) == _EXTENSION)
    return with_values(packet, {_EXTENSION: extension_id(extended)})


def extension_id(extended: bytes) -> str:
    """Return the name that a JPEG's first packet calls its extension by: the MD5 of the extension."""
    return hashlib.md5(extended, usedforsecurity=False).hexdigest().upper()


def says_anything(packet: bytes) -> bool:
    """Whether a packet has a property of any meaning left."""
    return any(p.namespace not in {RDF, META} for p in properties(packet))


def _announced(item: Property) -> Word | None:
    if item.namespace == _CAMERA and item.name.startswith(("MotionPhoto", "MicroVideo")):
        return Word.MOTION
    if item.namespace.startswith(_DYNAMIC_DEPTH):
        return Word.DEPTH
    if (item.namespace, item.name) == ("http://purl.org/dc/terms/", "provenance"):
        return Word.CONTENT_CREDENTIALS
    return _ABOUT.get(item.namespace)


def _is_further_item(item: Property) -> bool:
    return (item.namespace, item.name) == (_ITEM, "Semantic") and item.value != b"Primary"


def _is_thumbnail(item: Property) -> bool:
    return (item.namespace, item.name) == (XAP, "Thumbnails")
