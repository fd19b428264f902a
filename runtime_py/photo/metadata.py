"""EXIF and XMP blocks, edited in place: what a decoder has already applied must not be applied again by a viewer.

The blocks are patched, not rewritten, because maker notes hold offsets that a rewrite would break.
"""

import re
import struct
from typing import Final

_EXIF_PREFIX: Final = b"Exif\x00\x00"
_ORIENTATION_TAG: Final = 0x0112
_WIDTH_TAG: Final = 0x0100
_HEIGHT_TAG: Final = 0x0101
_EXIF_DIRECTORY_TAG: Final = 0x8769
_PIXEL_WIDTH_TAG: Final = 0xA002
_PIXEL_HEIGHT_TAG: Final = 0xA003
_SHORT: Final = 3
_LONG: Final = 4
_XMP_ORIENTATION: Final = re.compile(rb"(tiff:Orientation(?:=[\"']|>)\s*)[2-8]")


def normalized_exif(block: bytes) -> bytes | None:
    """Reset the orientation to 1 and detach the embedded thumbnail, which shows the photo as it was.

    Parameters
    ----------
    block
        An EXIF block, with or without its ``Exif`` prefix.

    Returns
    -------
    bytes or None
        The TIFF structure without prefix; `None` where it is not one, so that damage is not carried on.
    """
    data = bytearray(block.removeprefix(_EXIF_PREFIX))
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(bytes(data[:4]))
    if order is None or len(data) < 8:
        return None
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    if directory + 2 > len(data):
        return None
    (count,) = struct.unpack_from(f"{order}H", data, directory)
    end = directory + 2 + 12 * count
    if end > len(data):
        return None
    for entry in range(directory + 2, end, 12):
        (tag,) = struct.unpack_from(f"{order}H", data, entry)
        if tag == _ORIENTATION_TAG:
            struct.pack_into(f"{order}HIHH", data, entry + 2, 3, 1, 1, 0)
    if end + 4 <= len(data):
        struct.pack_into(f"{order}I", data, end, 0)
    return bytes(data)


def normalized_xmp(packet: bytes) -> bytes:
    """Reset ``tiff:Orientation`` to 1 in an XMP packet; the rest stays byte for byte."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)


def resized_exif(block: bytes, width: int, height: int) -> bytes:
    """Set every width and height that an EXIF block states to those of the cropped photo; others are not added.

    Parameters
    ----------
    block
        A TIFF structure as :func:`normalized_exif` returns it.
    width, height
        The new size in pixels; a field of 16 bits that cannot hold it is left as it is.
    """
    data = bytearray(block)
    order = "<" if data[:2] == b"II" else ">"
    (main,) = struct.unpack_from(f"{order}I", data, 4)
    for entry, tag in _entries(data, order, main):
        if tag == _EXIF_DIRECTORY_TAG:
            (directory,) = struct.unpack_from(f"{order}I", data, entry + 8)
            for inner, inner_tag in _entries(data, order, directory):
                _set_side(data, order, inner, {_PIXEL_WIDTH_TAG: width, _PIXEL_HEIGHT_TAG: height}.get(inner_tag))
        _set_side(data, order, entry, {_WIDTH_TAG: width, _HEIGHT_TAG: height}.get(tag))
    return bytes(data)


def resized_xmp(packet: bytes, width: int, height: int) -> bytes:
    """Set the widths and heights that an XMP packet states to those of the cropped photo."""
    sides = {b"exif:PixelXDimension": width, b"tiff:ImageWidth": width}
    sides |= {b"exif:PixelYDimension": height, b"tiff:ImageLength": height}
    for name, side in sides.items():
        packet = re.sub(rb"(" + name + rb"(?:=[\"']|>)\s*)\d+", rb"\g<1>" + str(side).encode(), packet)
    return packet


def _entries(data: bytearray, order: str, directory: int) -> list[tuple[int, int]]:
    """Return (offset, tag) of a directory's entries; none where it does not lie in the data."""
    if directory + 2 > len(data):
        return []
    (count,) = struct.unpack_from(f"{order}H", data, directory)
    offsets = range(directory + 2, directory + 2 + 12 * count, 12)
    if offsets.stop > len(data):
        return []
    return [(offset, struct.unpack_from(f"{order}H", data, offset)[0]) for offset in offsets]


def _set_side(data: bytearray, order: str, entry: int, side: int | None) -> None:
    if side is None:
        return
    kind, count = struct.unpack_from(f"{order}HI", data, entry + 2)
    if count == 1 and kind == _SHORT and side < 1 << 16:
        struct.pack_into(f"{order}HH", data, entry + 8, side, 0)
    elif count == 1 and kind == _LONG:
        struct.pack_into(f"{order}I", data, entry + 8, side)
