"""Whether the score ranks as it should: a clean frame above its degraded self, a mended one above what it was."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field
from scipy.stats import spearmanr

from pocketcrafter.benchmarks.names import FrameKind
from pocketcrafter.benchmarks.quality.attributes import JUDGED_KINDS
from pocketcrafter.benchmarks.quality.pictures import FrameQuality
from pocketcrafter.runtime.config import Config


class ScoreQuality(Config):
    """The score over the frames of one kind."""

    pairs: int = Field(description="Frames; each is a pair with its clean self.")
    clean_above_degraded: float = Field(description="Share of pairs in which the clean frame scores higher.")
    improved: int = Field(description="Frames whose mean CIEDE2000 fell.")
    enhanced_above_degraded: float | None = Field(
        description="Share of the improved frames that score higher than before; null where none improved."
    )


def score_qualities(qualities: Sequence[FrameQuality]) -> dict[FrameKind, ScoreQuality]:
    """Judge the score on each kind of frames that occurs; clean frames have nothing to be ranked against."""
    return {
        kind: _quality(chosen)
        for kind in FrameKind
        if kind is not FrameKind.CLEAN and (chosen := [q for q in qualities if q.kind is kind])
    }


def score_srcc(qualities: Sequence[FrameQuality]) -> float | None:
    """Return Spearman's rank correlation of the score with the true one over frames of `JUDGED_KINDS`.

    The truth is what the score was trained for (`photo_score`), not anybody's preference. `None` where either is the
    same in all frames.
    """
    judged = [q.scores for q in qualities if q.kind in JUDGED_KINDS]
    said, true = [s.degraded for s in judged], [s.true_degraded for s in judged]
    if len(set(said)) < 2 or len(set(true)) < 2:
        return None
    return float(spearmanr(said, true).statistic)


def _quality(qualities: Sequence[FrameQuality]) -> ScoreQuality:
    improved = [q.scores for q in qualities if q.after.delta_e < q.before.delta_e]
    rose = [s.enhanced > s.degraded for s in improved]
    return ScoreQuality(
        pairs=len(qualities),
        clean_above_degraded=float(np.mean([q.scores.clean > q.scores.degraded for q in qualities])),
        improved=len(improved),
        enhanced_above_degraded=float(np.mean(rose)) if rose else None,
    )
