"""Decides on one rotation and one crop from the composition network's outputs, with the evidence for both.

Where a photo's colors stand out is measured for the reasons alone; boxes are ranked without it.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np
from PIL import Image, ImageFilter
from pydantic import Field

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.geometry.proposals import Aspect, Proposal
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
SURE: Final = 0.7
"""Least confidence at which a photo is turned."""
LEAST_TURN_DEGREES: Final = 2.5
"""Smaller tilts are left: where it is sure, the network is 1.5° wrong on average."""
MARGIN: Final = 2.0
"""Least lead, in log-odds, of a box over its centered rival, after the cost of what it leaves out."""
COST_OF_AREA: Final = 2.0
"""Log-odds that a box has to make up for if it kept nothing of the area."""
FULL_SEVERITY_DEGREES: Final = 8.0
"""The least tilt that is as bad as any."""
LEAST_NEARER: Final = 0.03
"""Least way, in sides of the frame, by which what stands out must come nearer to be a reason."""
LEAST_FREED: Final = 0.01
"""Least share of what stands out that the border must no longer cut to be a reason."""


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


class TiltOpinion(Config):
    """The network's estimate of the horizon's tilt, and how sure it is."""

    degrees: float = Field(description="The clockwise turn that would level the photo.")
    confidence: Amount = Field(description="P(it is right to 1.5°).")

    @property
    def sure(self) -> bool:
        """Whether it may be acted on, or called level."""
        return self.confidence >= SURE

    @property
    def turn(self) -> float:
        """The turn that is carried out, in degrees; 0 where it is not sure, or level."""
        return self.degrees if self.sure and abs(self.degrees) >= LEAST_TURN_DEGREES else 0.0

    @property
    def severity(self) -> float:
        """How bad the tilt is, in [0, 1]; 0 is level."""
        return min(1.0, abs(self.turn) / FULL_SEVERITY_DEGREES)


class RankedBox(Config):
    """A proposal with what it was ranked by."""

    box: CropBox = Field(description="In pixels of the levelled canvas.")
    aspect: Aspect
    score: float = Field(description="The network's score; only differences between boxes of one size mean anything.")
    lead: float = Field(description="Log-odds over the centered box of its size.")
    worth: float = Field(description="The lead less the cost of the area that is left out; what is ranked.")


class ReasonKind(StrEnum):
    """What a reason speaks of."""

    THIRDS = "thirds"
    CENTER = "center"
    BORDER = "border"


class Reason(Config):
    """One measured fact that the crop betters."""

    kind: ReasonKind
    before: float
    after: float
    words: str


def rank(candidates: Sequence[Proposal], scores: Sequence[float], whole_area: int) -> list[RankedBox]:
    """Rank proposals by what they are worth, the best first.

    Parameters
    ----------
    candidates
        Each one's reference must be among them.
    scores
        The network's, in the same order.
    whole_area
        Area of the uncropped photo in pixels of the boxes.
    """
    score_of = {candidate.box: score for candidate, score in zip(candidates, scores, strict=True)}
    ranked = []
    for candidate in candidates:
        lead = score_of[candidate.box] - score_of[candidate.reference]
        lost = 1 - area(candidate.box) / whole_area
        ranked.append(
            RankedBox(
                box=candidate.box,
                aspect=candidate.aspect,
                score=score_of[candidate.box],
                lead=lead,
                worth=lead - COST_OF_AREA * lost,
            )
        )
    return sorted(ranked, key=lambda r: r.worth, reverse=True)


def choose(ranked: Sequence[RankedBox]) -> RankedBox | None:
    """Return the crop that is worth it, or none: the original stays."""
    best = ranked[0]
    return best if best.worth >= MARGIN else None


def reasons(before: FrameFacts, after: FrameFacts) -> tuple[Reason, ...]:
    """Say which of the measured facts a crop betters, the plainest first; nothing that was not measured is said."""
    found = []
    if before.to_third - after.to_third >= LEAST_NEARER:
        found.append(_reason(ReasonKind.THIRDS, before.to_third, after.to_third, "nearer to a crossing of the thirds"))
    if before.to_middle - after.to_middle >= LEAST_NEARER:
        found.append(_reason(ReasonKind.CENTER, before.to_middle, after.to_middle, "nearer to the middle"))
    if before.at_border - after.at_border >= LEAST_FREED:
        words = f"the border cuts {after.at_border:.0%} of what stands out instead of {before.at_border:.0%}"
        found.append(Reason(kind=ReasonKind.BORDER, before=before.at_border, after=after.at_border, words=words))
    return tuple(found)


def area(box: CropBox) -> int:
    """Return a box's area in pixels."""
    return (box.right - box.left) * (box.bottom - box.top)


def _reason(kind: ReasonKind, before: float, after: float, where: str) -> Reason:
    words = f"what stands out comes {where} ({before:.0%} of the frame's side away, now {after:.0%})"
    return Reason(kind=kind, before=before, after=after, words=words)
