"""ICC profiles: their tags, and matrix profiles built from primaries and a tone curve."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import AnyFloatArray

_D50: Final = np.array([0.9642, 1.0, 0.8249])
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_HEADER_BYTES: Final = 128
_VERSION: Final = 0x04400000
"""4.4, the first version with the ``cicp`` tag."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Chromaticities:
    """CIE 1931 (x, y) of an RGB space's primaries and white."""

    red: Point
    green: Point
    blue: Point
    white: Point = (0.3127, 0.3290)

    def to_xyz(self) -> AnyFloatArray:
        """Matrix (3, 3) from linear RGB to XYZ relative to the space's own white, whose Y is 1.

        Raises
        ------
        ValueError
            If the primaries lie on one line, or the white has no luminance or lies outside of their triangle.
        """
        primaries = np.array([(x, y, 1 - x - y) for x, y in (self.red, self.green, self.blue)]).T
        if abs(np.linalg.det(primaries)) < 1e-6 or not 0 < self.white[1] < 1:
            raise ValueError("these chromaticities span no color space")
        shares = np.linalg.solve(primaries, _xyz(self.white))
        if shares.min() <= 0:
            raise ValueError("the white is no mixture of the primaries")
        return primaries * shares

    def to_pcs(self) -> AnyFloatArray:
        """Matrix (3, 3) from linear RGB to XYZ relative to D50, adapted after Bradford: the colorants of a profile."""
        own = self.to_xyz()
        return self._adaptation() @ own

    def _adaptation(self) -> AnyFloatArray:
        gains = (_BRADFORD @ _D50) / (_BRADFORD @ _xyz(self.white))
        return np.asarray(np.linalg.solve(_BRADFORD, gains[:, None] * _BRADFORD))


@dataclass(frozen=True)
class Curve:
    """From encoded to linear values in [0, 1]: ``(a·x + b)^g`` from ``d`` on, ``c·x`` below (ICC's function type 3)."""

    g: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0


def matrix_profile(name: str, space: Chromaticities, curve: Curve, *, code_points: bytes = b"") -> bytes:
    """Build a display profile (ICC 4.4) of an RGB space.

    Parameters
    ----------
    name
        What viewers show.
    space
        Primaries and white.
    curve
        Tone curve of all three channels.
    code_points
        The space in the four code points of ITU-T H.273 (primaries, transfer, matrix, full range), if it has them.
    """
    rows = {channel: _numbers(b"XYZ ", column) for channel, column in zip("rgb", space.to_pcs().T, strict=True)}
    tags = {
        b"desc": _text(name),
        b"cprt": _text("No copyright"),
        b"wtpt": _numbers(b"XYZ ", _D50),
        b"chad": _numbers(b"sf32", space._adaptation()),
        **{f"{channel}XYZ".encode(): row for channel, row in rows.items()},
        **{f"{channel}TRC".encode(): curve_tag(curve) for channel in "rgb"},
    }
    if code_points:
        tags[b"cicp"] = b"cicp" + bytes(4) + code_points
    return _assembled(b"RGB ", tags)


def grey_profile(curve: bytes) -> bytes:
    """Build a profile of one channel around a curve tag as it stands in another profile."""
    tags = {b"desc": _text("Grey"), b"cprt": _text("No copyright"), b"wtpt": _numbers(b"XYZ ", _D50), b"kTRC": curve}
    return _assembled(b"GRAY", tags)


def curve_tag(curve: Curve) -> bytes:
    """Return the tag of a curve."""
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(curve.g, curve.a, curve.b, curve.c, curve.d)


def tags_of(icc: bytes) -> Mapping[bytes, bytes]:
    """Return a profile's tags by signature; those that do not lie in it are left out."""
    tags: dict[bytes, bytes] = {}
    (count,) = struct.unpack_from(">I", icc, _HEADER_BYTES) if len(icc) >= _HEADER_BYTES + 4 else (0,)
    for entry in range(_HEADER_BYTES + 4, _HEADER_BYTES + 4 + 12 * min(count, 200), 12):
        if entry + 12 <= len(icc):
            key, start, size = struct.unpack_from(">4sII", icc, entry)
            if start + size <= len(icc):
                tags[key] = icc[start : start + size]
    return tags


def colorants_of(icc: bytes) -> AnyFloatArray | None:
    """Return a matrix profile's colorants, (3, 3) from linear RGB to XYZ of D50; `None` where it has none."""
    tags = tags_of(icc)
    columns = [tags.get(f"{channel}XYZ".encode(), b"") for channel in "rgb"]
    if any(len(column) < 20 for column in columns):
        return None
    return np.array([struct.unpack(">3i", column[8:20]) for column in columns]).T / 65536


def _assembled(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    start = _HEADER_BYTES + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for key, tag in tags.items():
        table += key + struct.pack(">II", start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), _VERSION, b"mntr", space, b"XYZ ")
    # A fixed date: the same color always gives the same bytes.
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(*_D50)
    return header.ljust(_HEADER_BYTES, b"\0") + table + body


def _xyz(point: Point) -> AnyFloatArray:
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def _numbers(kind: bytes, values: AnyFloatArray) -> bytes:
    return kind + bytes(4) + _fixed(*values.ravel())


def _text(value: str) -> bytes:
    text = value.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
