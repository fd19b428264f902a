"""EXIF and XMP blocks, edited in place: what a decoder has already applied must not be applied again by a viewer.

The blocks are patched, not rewritten, because maker notes hold offsets that a rewrite would break.
"""

import re
import struct
from typing import Final

_EXIF_PREFIX: Final = b"Exif\x00\x00"
_ORIENTATION_TAG: Final = 0x0112
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
