"""ICC profiles, and those that stand for color spaces by number (ITU-T H.273), as PNG, HEIC and AVIF name them."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from pocketcrafter.runtime.arrays import AnyFloatArray

_D50: Final = np.array([0.9642, 1.0, 0.8249])
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_HEADER_BYTES: Final = 128
_VERSION: Final = 0x04400000
"""4.4, the first version with the ``cicp`` tag."""

Point = tuple[float, float]
UNSPECIFIED: Final = 2
PQ: Final = 16
HLG: Final = 18
_C: Final = (0.310, 0.316)


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


SRGB_CURVE: Final = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE: Final = Curve(
    1 / 0.45, 1 / 1.09929682680944, 0.09929682680944 / 1.09929682680944, 1 / 4.5, 0.08124285829863
)

BT709: Final = Chromaticities((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3: Final = Chromaticities((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
BT2020: Final = Chromaticities((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_SMPTE: Final = Chromaticities((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))

PRIMARIES: Final[Mapping[int, tuple[str, Chromaticities]]] = {
    1: ("sRGB", BT709),
    4: ("BT.470 M", Chromaticities((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C)),
    5: ("BT.470 B/G", Chromaticities((0.64, 0.33), (0.29, 0.60), (0.15, 0.06))),
    6: ("SMPTE 170M", _SMPTE),
    7: ("SMPTE 240M", _SMPTE),
    8: ("film", Chromaticities((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C)),
    9: ("BT.2020", BT2020),
    10: ("XYZ", Chromaticities((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3))),
    11: ("DCI-P3", Chromaticities((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351))),
    12: ("Display P3", DISPLAY_P3),
    22: ("EBU 3213", Chromaticities((0.630, 0.340), (0.295, 0.605), (0.155, 0.077))),
}
"""Name and chromaticities of each value of ColourPrimaries."""

CURVES: Final[Mapping[int, tuple[str, Curve]]] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), ("BT.709 curve", _BT709_CURVE)),
    4: ("gamma 2.2", Curve(2.2)),
    5: ("gamma 2.8", Curve(2.8)),
    7: ("SMPTE 240M curve", Curve(1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 0.0912)),
    8: ("linear", Curve(1.0)),
    13: ("sRGB curve", SRGB_CURVE),
    17: ("gamma 2.6", Curve(2.6)),
}
"""Name and curve of each value of TransferCharacteristics that an ICC matrix profile can hold."""


@dataclass(frozen=True)
class CodePoints:
    """What a file says about its pixels in numbers.

    Attributes
    ----------
    primaries, transfer
        ColourPrimaries and TransferCharacteristics of H.273.
    full_range
        Whether black and white are the sample's least and greatest value; 16/255 and 235/255 otherwise.
    """

    primaries: int
    transfer: int
    full_range: bool = True

    @classmethod
    def of_profile(cls, icc: bytes) -> Self | None:
        """Return what a profile's ``cicp`` tag (ICC 4.4) says, `None` where it has none."""
        tag = tags_of(icc).get(b"cicp", b"")
        return cls(tag[8], tag[9], tag[11] != 0) if len(tag) >= 12 else None

    @property
    def is_hdr(self) -> bool:
        """Whether values stand for more light than a display's white: PQ or HLG."""
        return self.transfer in {PQ, HLG}

    @property
    def is_known(self) -> bool:
        """Whether both numbers have a meaning here."""
        return self.primaries in PRIMARIES and (self.is_hdr or self.transfer in CURVES)

    def profile(self) -> bytes | None:
        """Return the space as an ICC profile, which names the code points too; `None` for sRGB.

        Raises
        ------
        KeyError
            If the space has no profile: HDR, or numbers without meaning.
        """
        if self.primaries == 1 and self.transfer == 13:
            return None
        (name, space), (curve_name, curve) = PRIMARIES[self.primaries], CURVES[self.transfer]
        name = name if curve is SRGB_CURVE else f"{name}, {curve_name}"
        return matrix_profile(name, space, curve, code_points=bytes([self.primaries, self.transfer, 0, 1]))
