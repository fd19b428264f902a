"""Decides on one rotation and one crop from the composition network's outputs, with the evidence for both."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from pydantic import Field

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.geometry.proposals import Aspect, Proposal
from pocketcrafter.runtime.geometry.salience import FrameFacts
from pocketcrafter.runtime.plan import Amount, CropBox

SURE: Final = 0.7
"""Least confidence at which a photo is turned."""
LEAST_TURN_DEGREES: Final = 2.0
"""Smaller tilts are left: where it is sure, the network is 1.4° wrong on average."""
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
