"""Risk and coverage of whatever chooses a plan: how much it gains, how often it harms, from timid to bold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pocketcrafter.export.train.gate_frames import JudgedFrames, Kind, kinds_of
from pocketcrafter.export.train.limits import AIM_CHANGED_SHARE, AIM_WORSE_SHARE, UNCHANGED_PSNR_DB
from pocketcrafter.export.train.plan_proposals import WORTH
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan_judge import best

_IMPROVED: Final = 0.5
_WORSE: Final = 1.0
UNTOUCHED_DB: Final = 100.0
"""PSNR of a frame beside itself, as `outcomes` bounds it."""
_AIMS: Final[Mapping[Kind, float]] = {k: AIM_CHANGED_SHARE if k is Kind.CLEAN else AIM_WORSE_SHARE for k in Kind}
BARS: Final = (-3.0, -2.0, -1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""What the lower bound of a gain may have to exceed, in CIEDE2000, from bold to timid."""

_SMALL: Final = "(small)"
"""Stands for all sources of few frames; no source is called that."""

_Floats = npt.NDArray[np.float32]


class RiskPoint(Config):
    """What one way to choose does to frames; shares are of frames of the kind, in [0, 1]."""

    chooser: str = Field(description="What chooses: the judge, or a gate.")
    bar: float = Field(description="How timid it is: the judge's bar in CIEDE2000, or a gate's shift in log-odds.")
    delta_e_change: float = Field(description="Mean change of CIEDE2000 of degraded frames; negative is better.")
    worse: float = Field(description="Degraded frames whose CIEDE2000 rises by more than 1.")
    improved: float = Field(description="Degraded frames whose CIEDE2000 falls by more than 0.5.")
    touched: float = Field(description="Degraded frames that are changed visibly.")
    clean_changed: float = Field(description="Clean frames that are changed visibly.")
    worst_source: float = Field(
        description="Harm over the harm that gates aim at, in the kind and source of frames where it is highest; "
        "sources of too few frames to tell are one."
    )

    @property
    def allowed(self) -> bool:
        """Whether harm stays within the aims in every kind and source of frames."""
        return self.worst_source <= 1


def risk_point(chooser: str, bar: float, frames: JudgedFrames, gains: _Floats, likeness: _Floats) -> RiskPoint:
    """Return the figures of what was chosen.

    Parameters
    ----------
    chooser, bar
        As in `RiskPoint`.
    frames
        The frames.
    gains, likeness
        What was chosen gains in CIEDE2000, and the PSNR in dB between after and before: ``(N,)``.
    """
    kinds = kinds_of(frames.plans)
    degraded, changed = kinds == Kind.DEGRADED, likeness < UNCHANGED_PSNR_DB
    harmed = np.where(degraded, gains < -_WORSE, changed).astype(np.float64)
    return RiskPoint(
        chooser=chooser,
        bar=bar,
        delta_e_change=-float(gains[degraded].mean()),
        worse=float(harmed[degraded].mean()),
        improved=float((gains[degraded] > _IMPROVED).mean()),
        touched=float(changed[degraded].mean()),
        clean_changed=float(changed[kinds == Kind.CLEAN].mean()),
        worst_source=max(_worst(frames, harmed, kinds, kind) / _AIMS[kind] for kind in Kind if (kinds == kind).any()),
    )


def _worst(frames: JudgedFrames, harmed: npt.NDArray[np.float64], kinds: npt.NDArray[np.int64], kind: Kind) -> float:
    """Return the harm to frames of a kind in the source where it is highest.

    A source in which one harmed frame would already be more than the aim counts together with all others of its size.
    """
    among = kinds == kind
    names, counts = np.unique(frames.sources[among], return_counts=True)
    told = np.isin(frames.sources, names[counts * _AIMS[kind] >= 1])
    pooled = replace(frames, sources=np.where(told, frames.sources, _SMALL))
    return float(pooled.by_source(harmed, among).max())


def chosen(said: _Floats, bar: float) -> npt.NDArray[np.int64]:
    """Return which proposal is carried out, -1 for none, as the runtime chooses at a bar.

    Parameters
    ----------
    said
        `QUANTILES` of each proposal's gain: ``(N, K, 3)``.
    bar
        In CIEDE2000.
    """
    places = (best(of_frame, bar, WORTH) for of_frame in said)
    return np.array([-1 if place is None else place for place in places], dtype=np.int64)


def point_of_choice(
    chooser: str, bar: float, frames: JudgedFrames, which: npt.NDArray[np.int64], gains: _Floats, likeness: _Floats
) -> RiskPoint:
    """Return the figures of chosen proposals, as `risk_point`.

    Parameters
    ----------
    chooser, bar, frames
        As in `risk_point`.
    which
        The chosen proposal of each frame, -1 for none: ``(N,)``.
    gains, likeness
        Of all proposals: ``(N, K)``.
    """
    rows, done = np.arange(len(which)), which >= 0
    gain, alike = np.where(done, gains[rows, which], 0), np.where(done, likeness[rows, which], UNTOUCHED_DB)
    return risk_point(chooser, bar, frames, gain, alike)


def judge_curve(
    name: str, frames: JudgedFrames, said: _Floats, gains: _Floats, likeness: _Floats, bars: Sequence[float] = BARS
) -> list[RiskPoint]:
    """Return a judge's figures at each bar.

    Parameters
    ----------
    name
        Of the judge, for tables.
    frames
        The N judged frames.
    said
        `QUANTILES` of each proposal's gain, as the judge predicts them: ``(N, K, 3)``.
    gains, likeness
        What proposals bring in truth, and how like the frame they are: ``(N, K)``.
    bars
        In CIEDE2000, as `chosen` takes one.
    """
    return [point_of_choice(name, bar, frames, chosen(said, bar), gains, likeness) for bar in bars]


def boldest_allowed(points: Sequence[RiskPoint]) -> RiskPoint | None:
    """Return the point of the largest gain whose harm is allowed, `None` where no point's is."""
    return min((point for point in points if point.allowed), key=lambda point: point.delta_e_change, default=None)
