"""Color spaces by number (ITU-T H.273), as PNG, HEIC and AVIF name them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from pocketcrafter.runtime.photo.icc import Chromaticities, Curve, matrix_profile, tags_of

UNSPECIFIED: Final = 2
PQ: Final = 16
HLG: Final = 18

SRGB_CURVE: Final = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE: Final = Curve(
    1 / 0.45, 1 / 1.09929682680944, 0.09929682680944 / 1.09929682680944, 1 / 4.5, 0.08124285829863
)

BT709: Final = Chromaticities((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3: Final = Chromaticities((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
BT2020: Final = Chromaticities((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_C: Final = (0.310, 0.316)
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
