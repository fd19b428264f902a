"""What prose says of a photo beside its plan: brightness, palette, colorfulness and detail, measured on the view.

Only what the critic's plan tokens carry is here: a linear probe of them (3,000 training frames, 640 validation frames)
predicts mean luma and red less blue with R² 0.94, fine detail with 0.79, colorfulness with 0.75. Global contrast
(0.52) and clipped shares (0.02 and 0.61) are left out, since text about them would be guesswork.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt


class Light(IntEnum):
    """Mean luma of the encoded picture."""

    VERY_DARK = 0
    DARK = 1
    MIDDLE = 2
    BRIGHT = 3
    VERY_BRIGHT = 4


class Palette(IntEnum):
    """Mean of red less blue."""

    COOL = 0
    BALANCED = 1
    WARM = 2
    VERY_WARM = 3


class Colorfulness(IntEnum):
    """Hasler and Süsstrunk's measure (2003) on RGB in [0, 1]."""

    MUTED = 0
    MODERATE = 1
    VIVID = 2


class Detail(IntEnum):
    """Mean luma difference of neighbors in the view; noise counts as detail, as it does to the eye at this size."""

    LITTLE = 0
    SOME = 1
    RICH = 2


_LIGHT_EDGES: Final = (0.22, 0.37, 0.57, 0.74)
_PALETTE_EDGES: Final = (-0.04, 0.06, 0.18)
_COLORFULNESS_EDGES: Final = (0.11, 0.22)
_DETAIL_EDGES: Final = (0.013, 0.033)
_LUMA: Final = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
_ROW_STEP: Final = 256
"""Frames measured at a time: views in float32 are large."""


@dataclass(frozen=True)
class Facts:
    """One frame's measured facts."""

    light: Light
    palette: Palette
    colorfulness: Colorfulness
    detail: Detail


def measure_facts(views: npt.NDArray[np.uint8]) -> list[Facts]:
    """Measure the facts of views.

    Parameters
    ----------
    views
        Shape ``(N, H, W, 3)``, uint8, sRGB-encoded.
    """
    return [facts for start in range(0, len(views), _ROW_STEP) for facts in _measure(views[start : start + _ROW_STEP])]


def _measure(views: npt.NDArray[np.uint8]) -> list[Facts]:
    pictures = views.astype(np.float32) / 255
    luma = pictures @ _LUMA
    red, green, blue = np.moveaxis(pictures, -1, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread, center = (np.hypot(*(f(axis, (1, 2)) for axis in (red_green, yellow_blue))) for f in (np.std, np.mean))
    bins = [
        np.digitize(luma.mean((1, 2)), _LIGHT_EDGES),
        np.digitize((red - blue).mean((1, 2)), _PALETTE_EDGES),
        np.digitize(spread + 0.3 * center, _COLORFULNESS_EDGES),
        np.digitize(np.abs(np.diff(luma, axis=2)).mean((1, 2)), _DETAIL_EDGES),
    ]
    return [
        Facts(Light(light), Palette(palette), Colorfulness(colorfulness), Detail(detail))
        for light, palette, colorfulness, detail in np.stack(bins, 1).tolist()
    ]
