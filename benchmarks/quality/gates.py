"""What the default pair must reach on held-out photos, and what of it was missed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.quality.pictures import KindQuality
from pocketcrafter.benchmarks.quality.results import QualitySummary, ScoreQuality
from pocketcrafter.export.train.limits import MAX_WORSE_SHARE, MIN_UNCHANGED_SHARE

_FIGURES: Final[Mapping[str, tuple[str, str]]] = {
    "psnr_gain_db": ("PSNR gain", "{:+.2f} dB"),
    "delta_e_change": ("change of ΔE2000", "{:+.2f}"),
    "worse_share": ("made worse", "{:.1%}"),
    "unchanged_share": ("left as they are", "{:.1%}"),
    "clean_above_degraded": ("clean scored above degraded", "{:.1%}"),
    "enhanced_above_degraded": ("enhanced scored above degraded", "{:.1%}"),
}
"""What figures are called, and how they are written."""


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
        return None if held else f"{self}, measured {_FIGURES[self.figure][1].format(value)}"

    def __str__(self) -> str:
        name, form = _FIGURES[self.figure]
        bounds = (("at least", self.minimum), ("at most", self.maximum))
        asked = " and ".join(f"{word} {form.format(bound)}" for word, bound in bounds if bound is not None)
        return f"{self.kind} frames: {name}: {asked} asked"


PICTURE_GATES: Final = (
    QualityGate(FrameKind.DEGRADED, "psnr_gain_db", minimum=3.0),
    QualityGate(FrameKind.DEGRADED, "delta_e_change", maximum=-5.0),
    QualityGate(FrameKind.DEGRADED, "worse_share", maximum=MAX_WORSE_SHARE),
    QualityGate(FrameKind.CLEAN, "unchanged_share", minimum=MIN_UNCHANGED_SHARE),
    QualityGate(FrameKind.NOISE, "psnr_gain_db", minimum=4.0),
    QualityGate(FrameKind.JPEG, "psnr_gain_db", minimum=0.5),
    QualityGate(FrameKind.DEFOCUS, "psnr_gain_db", minimum=0.7),
)
"""On the means of pictures."""

SCORE_GATES: Final = (
    QualityGate(FrameKind.DEGRADED, "clean_above_degraded", minimum=0.9),
    QualityGate(FrameKind.DEGRADED, "enhanced_above_degraded", minimum=0.8),
)
"""On the score's ranking."""

MIN_PLAN_R2: Final = 0.45
"""On the raw plan, before the gate: the mean over attributes."""


def missed_gates(summary: QualitySummary) -> list[str]:
    """Return the gates that are not met, in words; kinds that were not measured are not judged.

    Beside `PICTURE_GATES`, `SCORE_GATES` and `MIN_PLAN_R2`, no attribute may be further from the truth on average than
    before.
    """
    missed = [m for g in PICTURE_GATES if g.kind in summary.kinds and (m := g.missed(summary.kinds[g.kind]))]
    missed += [m for g in SCORE_GATES if g.kind in summary.scores and (m := g.missed(summary.scores[g.kind]))]
    if summary.plan_r2 is not None and summary.plan_r2 < MIN_PLAN_R2:
        missed.append(f"plan: R² of at least {MIN_PLAN_R2:.2f} asked, measured {summary.plan_r2:.2f}")
    missed += [
        f"{attribute}: the carried-out plan must not be further from the truth than none, measured "
        f"{quality.error_change:+.3g}"
        for attribute, quality in summary.attributes.items()
        if quality.error_change > 0
    ]
    return missed
