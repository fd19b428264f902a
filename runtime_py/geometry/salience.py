"""Where a photo's colors stand out, and what that says about a frame: facts for the reasons, not for the ranking."""

from typing import Final

import numpy as np
from PIL import Image, ImageFilter
from pydantic import Field

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Amount, CropBox

MAP_PX: Final = 96
"""Longer side of a salience map."""
BLUR_PX: Final = 2.0
"""Standard deviation of the blur before colors are compared."""
EDGE_SHARE: Final = 0.04
"""Share of a frame's side that counts as its border."""
BACKGROUND_QUANTILE: Final = 0.7
"""Share of places that stand out from nothing."""
_POWER_POINTS: Final = tuple((x, y) for x in (1 / 3, 2 / 3) for y in (1 / 3, 2 / 3))


class FrameFacts(Config):
    """Where the salient mass of a frame stands; the frame's sides are 1."""

    center: tuple[Amount, Amount] = Field(description="Center of the salient mass, from the left and from the top.")
    to_third: float = Field(ge=0, description="Its distance from the nearest crossing of the thirds.")
    to_middle: float = Field(ge=0, description="Its distance from the middle.")
    at_border: Amount = Field(description="Share of it within 4 % of the border: what the frame cuts.")
    kept: Amount = Field(description="Share of the whole photo's salient mass that the frame holds.")


def salience(pixels: PixelArray) -> FloatArray:
    """Measure how far each place's color is from the photo's mean color (Achanta et al., CVPR 2009).

    Parameters
    ----------
    pixels
        uint8, sRGB, ``(H, W, 3)``.

    Returns
    -------
    FloatArray
        Shape ``(h, w)``, the longer side at most 96, in [0, 1]; the lower 70 % of places are 0.
    """
    image = Image.fromarray(pixels)
    share = min(1.0, MAP_PX / max(image.size))
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    small = image.resize(size, Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(BLUR_PX))
    # Opponent colors: Lab without its cube roots, which tell nothing more here.
    r, g, b = (np.asarray(small, dtype=np.float32)[..., c] / 255 for c in range(3))
    planes = np.stack([(r + g + b) / 3, (r - g) / 2, (r + g) / 4 - b / 2], axis=-1)
    distance = np.linalg.norm(planes - planes.mean((0, 1)), axis=-1)
    above = np.clip(distance - np.quantile(distance, BACKGROUND_QUANTILE), 0, None)
    top = float(above.max())
    standing_out: FloatArray = (above / top if top > 0 else above).astype(np.float32)
    return standing_out


def frame_facts(salient: FloatArray, width: int, height: int, box: CropBox) -> FrameFacts:
    """Measure a box of a photo on the photo's salience.

    Parameters
    ----------
    salient
        Result of :func:`salience`.
    width, height
        The photo's size in the pixels of the box.
    box
        The frame.
    """
    rows, columns = salient.shape
    y = ((np.arange(rows) + 0.5) / rows * height - box.top) / (box.bottom - box.top)
    x = ((np.arange(columns) + 0.5) / columns * width - box.left) / (box.right - box.left)
    inside = ((y >= 0) & (y <= 1))[:, None] & ((x >= 0) & (x <= 1))[None]
    deep = ((y > EDGE_SHARE) & (y < 1 - EDGE_SHARE))[:, None] & ((x > EDGE_SHARE) & (x < 1 - EDGE_SHARE))[None]
    mass = np.where(inside, salient, 0)
    total = float(mass.sum())
    if total <= 0:
        return FrameFacts(center=(0.5, 0.5), to_third=_to_third(0.5, 0.5), to_middle=0.0, at_border=0.0, kept=0.0)
    across, down = (min(max(float((mass * p).sum()) / total, 0.0), 1.0) for p in (x[None], y[:, None]))
    return FrameFacts(
        center=(across, down),
        to_third=_to_third(across, down),
        to_middle=float(np.hypot(across - 0.5, down - 0.5)),
        at_border=min(1.0, max(0.0, 1 - float(mass[deep].sum()) / total)),
        kept=min(1.0, total / float(salient.sum())),
    )


def _to_third(across: float, down: float) -> float:
    return min(float(np.hypot(across - x, down - y)) for x, y in _POWER_POINTS)
