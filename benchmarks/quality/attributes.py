"""What the critic knows of each attribute, and whether its gated plan brings the attribute nearer to where it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import Field
from sklearn.metrics import r2_score, roc_auc_score

from pocketcrafter.benchmarks.names import FrameKind
from pocketcrafter.benchmarks.quality.pictures import FrameQuality
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Attribute

JUDGED_KINDS: Final = (FrameKind.DEGRADED, FrameKind.CLEAN)
"""The frames that attributes are judged on: those whose faults are drawn as in training, and those without any."""

_Floats = npt.NDArray[np.float64]


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
    return {attribute: _quality(_columns(judged, attribute)) for attribute in Attribute} if judged else {}


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


def _quality(of: _Columns) -> AttributeQuality:
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
