"""Photoshop image resources (8BIM), the blocks that hold IPTC captions, credits and keywords."""

import struct
from typing import Final

SIGNATURE: Final = b"Photoshop 3.0\x00"
_SIGNATURES: Final = frozenset({b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR"})
_IPTC: Final = 0x0404
_CARRIED: Final = frozenset({_IPTC, 0x0425, 0x040A, 0x040B})
"""IPTC, its digest, the copyright flag and the copyright's address."""
_COPIES: Final = frozenset({0x03ED, 0x0409, 0x040C, 0x040F, 0x0422, 0x0423, 0x0424})
"""Density, thumbnails of the old photo, ICC profile, EXIF and XMP: what stands in blocks of its own, or is stale."""


def iptc_of(resources: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Choose the resources that hold for the edited photo too.

    Parameters
    ----------
    resources
        A sequence of image resources, without the ``Photoshop 3.0`` signature; or an IPTC record by itself.

    Returns
    -------
    tuple[bytes, tuple[str, ...]]
        The chosen resources as they were, and what is left out, in words.
    """
    if resources[:1] == b"\x1c":
        padding = b"\x00" * (len(resources) % 2)
        return b"8BIM" + struct.pack(">HHI", _IPTC, 0, len(resources)) + resources + padding, ()
    chosen, left_out, at = [], set[str](), 0
    while resources[at : at + 4] in _SIGNATURES:
        stop = _end_of(resources, at)
        if stop is None:
            break
        kind = int.from_bytes(resources[at + 4 : at + 6], "big")
        if kind in _CARRIED:
            chosen.append(resources[at:stop] + b"\x00" * ((stop - at) % 2))
        elif kind not in _COPIES:
            left_out.add("Photoshop resources")
        at = stop + (stop - at) % 2
    if resources[at:].strip(b"\x00"):
        left_out.add("Photoshop resources (damaged)")
    return b"".join(chosen), tuple(sorted(left_out))


def _end_of(resources: bytes, at: int) -> int | None:
    """Return where a resource ends, without padding; `None` where that is past the data.

    Four bytes of signature, two of kind, a Pascal string and a content with a length of four bytes; both are padded to
    an even number of bytes.
    """
    if at + 7 > len(resources):
        return None
    size = at + 6 + (resources[at + 6] + 2) // 2 * 2
    if size + 4 > len(resources):
        return None
    stop = size + 4 + int.from_bytes(resources[size : size + 4], "big")
    return stop if stop <= len(resources) else None
