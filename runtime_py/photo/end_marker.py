"""JPEGs that lack nothing but their end marker, as cameras that lost power and cut-off copies leave them."""

import io
import re
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image

_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN: Final = 0xDA
_MARKER: Final = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""A marker in coded pixels, where a zero follows 0xFF otherwise, or a restart."""
_COEFFICIENTS: Final = 64
_FILLINGS: Final = (
    b"",
    b"\x55" * 64,
    b"\xaa" * 64,
    b"".join(bytes([0xFF, 0xD0 + number % 8]) + b"\x55" * 16 for number in range(16)),
)
"""What is put before the end marker: nothing, coded pixels, and coded pixels after each of the restart markers."""


def lacks_end_marker(jpeg: bytes) -> bool:
    """Whether no end marker follows the first scan; within coded pixels its two bytes cannot occur."""
    scan = next((place for marker, place in _segments(jpeg) if marker == _SCAN), None)
    return scan is not None and jpeg.find(_END, scan) < 0


def with_end_marker(jpeg: bytes) -> bytes | None:
    """Return a JPEG with the end marker that it lacks, or `None` where pixels are missing too.

    A decoder passes over bytes between the last block and the end marker. If it makes pixels of them, blocks are
    missing. Whole scans are missing where a coefficient was not told to its last bit.
    """
    jpeg = jpeg.removesuffix(_END[:1])
    if not _has_all_scans(jpeg):
        return None
    pictures = []
    for filling in _FILLINGS:
        try:
            with Image.open(io.BytesIO(jpeg + filling + _END), formats=("JPEG",)) as image:
                pictures.append(np.asarray(image))
        except OSError:
            return None
    return jpeg + _END if all(np.array_equal(pictures[0], picture) for picture in pictures[1:]) else None


def _has_all_scans(jpeg: bytes) -> bool:
    missing: set[tuple[int, int]] = set()
    for marker, place in _segments(jpeg):
        body = jpeg[place + 4 : place + 2 + struct.unpack_from(">H", jpeg, place + 2)[0]]
        if marker in _FRAMES:
            missing = {(component, k) for component in body[6::3] for k in range(_COEFFICIENTS)}
        elif marker == _SCAN and body and len(body) == 4 + 2 * body[0]:
            first, last, bits = body[-3:]
            if bits & 0x0F == 0:
                missing -= {(component, k) for component in body[1:-3:2] for k in range(first, last + 1)}
    return not missing


def _segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker and the place of each segment that has a length."""
    place = len(_START)
    while jpeg.startswith(_START) and place + 4 <= len(jpeg) and jpeg[place] == 0xFF and jpeg[place + 1] != _END[1]:
        marker = jpeg[place + 1]
        yield marker, place
        place += 2 + struct.unpack_from(">H", jpeg, place + 2)[0]
        if marker == _SCAN:
            found = _MARKER.search(jpeg, place)
            if found is None:
                return
            place = found.end() - 2
