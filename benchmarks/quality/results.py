"""What `bench quality` writes: each frame's figures, summaries by attribute and score, and the journal of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, computed_field, model_validator
from scipy.stats import spearmanr
from sklearn.metrics import r2_score, roc_auc_score

from pocketcrafter.benchmarks.common.journal import LineJournal
from pocketcrafter.benchmarks.common.machine import Machine
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.result_files import Name, read_result
from pocketcrafter.benchmarks.quality.pictures import FrameQuality, KindQuality, summarize
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Attribute

if TYPE_CHECKING:
    from pocketcrafter.benchmarks.common.frames import FrameKey


JUDGED_KINDS: Final = (FrameKind.DEGRADED, FrameKind.CLEAN)
"""The frames that attributes are judged on: those whose faults are drawn as in training, and those without any."""

_Floats = npt.NDArray[np.float64]

MAX_RESULT_BYTES: Final = 256 << 20


class AttributeQuality(Config):
    """One attribute over degraded and clean frames."""

    frames: int
    present: int = Field(description="Frames that need a change of it.")
    r2: float | None = Field(description="Of the raw prediction; null where the truth is the same in all frames.")
    mae: float = Field(ge=0, description="Mean absolute error of the raw prediction, in the attribute's own unit.")
    presence_auroc: float | None = Field(
        description="P(a frame that needs it gets a higher presence than one that doesn't); null without one of each."
    )
    opened: float | None = Field(description="How often the gate opens where a change is needed; null where never.")
    opened_wrongly: float | None = Field(description="How often it opens where none is needed.")
    error_before: float = Field(ge=0, description="Mean |true amount|, own unit: the error of doing nothing.")
    error_change: float = Field(
        description="Mean of |true − carried out| − |true|, own unit: negative is better, above 0 is harm."
    )


def attribute_qualities(qualities: Sequence[FrameQuality]) -> dict[Attribute, AttributeQuality]:
    """Judge every attribute on the frames of `JUDGED_KINDS`; empty where there are none."""
    judged = [q for q in qualities if q.kind in JUDGED_KINDS]
    return {attribute: _attribute_quality(_columns(judged, attribute)) for attribute in Attribute} if judged else {}


def overall_r2(attributes: Mapping[Attribute, AttributeQuality]) -> float | None:
    """Return the plan's R²: the mean over the attributes that have one, whether or not the critic predicts them."""
    known = [a.r2 for a in attributes.values() if a.r2 is not None]
    return float(np.mean(known)) if known else None


def auroc(scores: _Floats, positive: npt.NDArray[np.bool_]) -> float | None:
    """Return the area under the receiver operating characteristic, ties counted half; `None` without both classes.

    Parameters
    ----------
    scores, positive
        Shape ``(N,)``: higher scores should be positive.
    """
    return float(roc_auc_score(positive, scores)) if positive.any() and not positive.all() else None


@dataclass(frozen=True)
class _Columns:
    """One attribute of every frame, in its own unit; each of shape ``(N,)``."""

    true: _Floats
    predicted: _Floats
    presence: _Floats
    carried_out: _Floats


def _columns(qualities: Sequence[FrameQuality], attribute: Attribute) -> _Columns:
    return _Columns(
        true=np.array([getattr(q.true_plan, attribute) for q in qualities], dtype=np.float64),
        predicted=np.array([q.opinions[attribute].amount for q in qualities], dtype=np.float64),
        presence=np.array([q.opinions[attribute].presence for q in qualities], dtype=np.float64),
        carried_out=np.array([getattr(q.plan, attribute) for q in qualities], dtype=np.float64),
    )


def _attribute_quality(of: _Columns) -> AttributeQuality:
    present = of.true != 0
    return AttributeQuality(
        frames=len(of.true),
        present=int(present.sum()),
        r2=float(r2_score(of.true, of.predicted)) if np.ptp(of.true) > 0 else None,
        mae=float(np.abs(of.true - of.predicted).mean()),
        presence_auroc=auroc(of.presence, present),
        opened=_share(of.carried_out[present] != 0),
        opened_wrongly=_share(of.carried_out[~present] != 0),
        error_before=float(np.abs(of.true).mean()),
        error_change=float((np.abs(of.true - of.carried_out) - np.abs(of.true)).mean()),
    )


def _share(happened: npt.NDArray[np.bool_]) -> float | None:
    return float(happened.mean()) if len(happened) else None


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
        kind: _score_quality(chosen)
        for kind in FrameKind
        if kind is not FrameKind.CLEAN and (chosen := [q for q in qualities if q.kind is kind])
    }


def score_srcc(qualities: Sequence[FrameQuality]) -> float | None:
    """Return Spearman's rank correlation of the score with the true one over frames of `JUDGED_KINDS`.

    The truth is what the score was trained for (`photo_score`), not anybody's preference. `None` where either is the
    same in all frames.
    """
    judged = [q.scores for q in qualities if q.kind in JUDGED_KINDS]
    predicted, true = [s.degraded for s in judged], [s.true_degraded for s in judged]
    if len(set(predicted)) < 2 or len(set(true)) < 2:
        return None
    return float(spearmanr(predicted, true).statistic)


def _score_quality(qualities: Sequence[FrameQuality]) -> ScoreQuality:
    improved = [q.scores for q in qualities if q.after.delta_e < q.before.delta_e]
    rose = [s.enhanced > s.degraded for s in improved]
    return ScoreQuality(
        pairs=len(qualities),
        clean_above_degraded=float(np.mean([q.scores.clean > q.scores.degraded for q in qualities])),
        improved=len(improved),
        enhanced_above_degraded=float(np.mean(rose)) if rose else None,
    )


class QualitySummary(Config):
    """Means over frames: of pictures, attributes, scores, and of what peers made of the same frames."""

    kinds: dict[FrameKind, KindQuality]
    attributes: dict[Attribute, AttributeQuality] = Field(description="Empty without degraded and clean frames.")
    plan_r2: float | None = Field(description="Mean R² over attributes.")
    scores: dict[FrameKind, ScoreQuality]
    score_srcc: float | None
    peers: dict[str, dict[FrameKind, KindQuality]]

    @classmethod
    def of(cls, frames: tuple[FrameQuality, ...]) -> "QualitySummary":
        """Summarize frames."""
        attributes = attribute_qualities(frames)
        return cls(
            kinds=summarize(frames),
            attributes=attributes,
            plan_r2=overall_r2(attributes),
            scores=score_qualities(frames),
            score_srcc=score_srcc(frames),
            peers={name: summarize(frames, name) for name in frames[0].peers},
        )


class QualityReport(Config):
    """Everything that one `pocketcrafter bench quality` measured."""

    schema_version: Literal[1] = 1
    bundle: Name = Field(description="The name in the bundle's manifest.")
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    machine: Machine = Field(description="What the seconds were measured on.")
    threads: int = Field(ge=1)
    split: Split
    seed: int
    frames: tuple[FrameQuality, ...] = Field(min_length=1, max_length=100_000)

    @model_validator(mode="after")
    def _same_peers_everywhere(self) -> "QualityReport":
        if any(set(f.peers) != set(self.frames[0].peers) for f in self.frames):
            raise ValueError("every frame must have the same peers")
        return self

    @computed_field  # type: ignore[prop-decorator] # mypy has no property under a decorator
    @property
    def summary(self) -> QualitySummary:
        """The means, computed from the frames."""
        return QualitySummary.of(self.frames)


def read_quality(path: Path) -> QualityReport:
    """Read a result file.

    Raises
    ------
    ConfigError
        If the file is missing, too large, or something else.
    """
    return read_result(path, QualityReport, "quality result", "bench quality --json", MAX_RESULT_BYTES)


class JournalHead(Config):
    """What is measured: the first line. Frames of another measurement are not mixed in."""

    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    split: Split
    seed: int
    photos: tuple[Name, ...]
    kinds: tuple[FrameKind, ...]
    per_photo: int
    peers: tuple[Name, ...]
    features: bool
    brisque: bool
    backend: str
    threads: int


class Journal:
    """Measured frames: a `LineJournal` of a `JournalHead` and a `FrameQuality` for each frame.

    Parameters
    ----------
    path
        The file; without one the frames are kept in memory alone.
    head
        What is measured.

    Raises
    ------
    ConfigError
        As `LineJournal` does.
    """

    def __init__(self, path: Path | None, head: JournalHead) -> None:
        self._lines = LineJournal(path, head, FrameQuality, "bench quality", MAX_RESULT_BYTES)
        self.done: dict[FrameKey, FrameQuality] = {quality.key: quality for quality in self._lines.lines}

    def add(self, quality: FrameQuality) -> None:
        """Keep a frame's figures."""
        self._lines.append(quality)
        self.done[quality.key] = quality

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
