"""What the default pair must reach on held-out photos, and what of it was missed."""

from dataclasses import dataclass
from typing import Final

from pocketcrafter.benchmarks.frames import FrameKind
from pocketcrafter.benchmarks.quality.pictures import KindQuality
from pocketcrafter.benchmarks.quality.results import QualitySummary
from pocketcrafter.benchmarks.quality.scoring import ScoreQuality
from pocketcrafter.export.train.limits import MAX_WORSE_SHARE, MIN_UNCHANGED_SHARE


@dataclass(frozen=True)
class QualityGate:
    """A bound on one figure of one kind of frames."""

    kind: FrameKind
    figure: str
    minimum: float | None = None
    maximum: float | None = None

    def missed(self, figures: KindQuality | ScoreQuality) -> str | None:
        """Say how the gate is missed; `None` where it holds, or where the figure was not measured."""
        value = getattr(figures, self.figure)
        if value is None:
            return None
        held = (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)
        return None if held else f"{self} (is {value:.3f})"

    def __str__(self) -> str:
        bound = f"≥ {self.minimum}" if self.minimum is not None else f"≤ {self.maximum}"
        return f"{self.kind} {self.figure} {bound}"


PICTURE_GATES: Final = (
    QualityGate(FrameKind.DEGRADED, "psnr_gain_db", minimum=1.5),
    QualityGate(FrameKind.DEGRADED, "delta_e_change", maximum=-3.0),
    QualityGate(FrameKind.DEGRADED, "worse_share", maximum=MAX_WORSE_SHARE),
    QualityGate(FrameKind.CLEAN, "unchanged_share", minimum=MIN_UNCHANGED_SHARE),
    QualityGate(FrameKind.NOISE, "psnr_gain_db", minimum=2.5),
)
"""On the means of pictures."""

SCORE_GATES: Final = (
    QualityGate(FrameKind.DEGRADED, "clean_above_degraded", minimum=0.9),
    QualityGate(FrameKind.DEGRADED, "enhanced_above_degraded", minimum=0.8),
)
"""On the score's ranking."""


def missed_gates(summary: QualitySummary) -> list[str]:
    """Return the gates that are not met, in words; kinds that were not measured are not judged.

    Beside `PICTURE_GATES` and `SCORE_GATES`, no attribute may be further from the truth on average than before.
    """
    missed = [m for g in PICTURE_GATES if g.kind in summary.kinds and (m := g.missed(summary.kinds[g.kind]))]
    missed += [m for g in SCORE_GATES if g.kind in summary.scores and (m := g.missed(summary.scores[g.kind]))]
    missed += [
        f"{attribute} error_change ≤ 0 (is {quality.error_change:+.3g})"
        for attribute, quality in summary.attributes.items()
        if quality.error_change > 0
    ]
    return missed
