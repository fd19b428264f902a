"""Tuning the gate: thresholds that mend degraded frames of unseen photos and leave the clean ones alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.train.evidence import EvidenceStore, to_batch
from pocketcrafter.export.train.limits import AIM_UNCHANGED_SHARE, AIM_WORSE_SHARE, UNCHANGED_PSNR_DB
from pocketcrafter.runtime.gate import AttributeGate, GateSettings
from pocketcrafter.runtime.plan import RESTORATION, TONAL, UNITS, Attribute, attribute_limits

_PRESENCES: Final = (0.4, 0.5, 0.6, 0.8, 0.9, 0.95)
_DEAD_ZONES: Final = (0.0, 0.1, 0.2, 0.3, 0.4)
_SHRINKS: Final = (0.7, 0.85, 1.0)
_CHOICES: Final = [
    AttributeGate(presence=p, confidence=0.0, dead_zone=d, shrink=s)
    for p in _PRESENCES
    for d in _DEAD_ZONES
    for s in _SHRINKS
    if s == 1.0 or d == 0.2
]
_SWEEPS: Final = 2
_NEVER: Final = AttributeGate(presence=1.0, confidence=1.0, dead_zone=4.0, shrink=0.0)
_TUNED: Final[Sequence[Attribute]] = [a for a in TONAL if a not in (Attribute.HIGHLIGHTS, Attribute.SHADOWS)]
TRIALS: Final = _SWEEPS * len(_TUNED) * len(_CHOICES)
"""How many gates `tune_gate` tries."""

Gates = Mapping[Attribute, AttributeGate]


@dataclass(frozen=True)
class JudgedFrames:
    """Small pictures of frames, the truth about them, and what a critic that never saw their photos says.

    Attributes
    ----------
    views, cleans
        Degraded and clean, sRGB in [0, 1]: float32 ``(N, 3, 32, 32)``.
    plans
        As in `EvidenceStore`.
    judged
        Of every frame.
    parts
        Which of the joined sets a frame is from: int64 ``(N,)``.
    """

    views: Tensor
    cleans: Tensor
    plans: npt.NDArray[np.float32]
    judged: Judgement
    parts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, store: EvidenceStore, judged: Judgement, rows: npt.NDArray[np.int64] | None = None) -> Self:
        """Take frames, all when none are named, out of a store; ``judged`` is of every stored frame."""
        rows = np.arange(len(store)) if rows is None else rows
        views, cleans = (to_batch(np.array(pictures[rows])) for pictures in (store.small_views, store.small_cleans))
        said = Judgement(*(column[torch.from_numpy(rows)] for column in judged))
        parts = np.zeros(len(rows), dtype=np.int64)
        return cls(views, cleans, np.array(store.plans[rows]), said, parts)

    def joined(self, other: Self) -> Self:
        """Return these frames and those of other photos."""
        return type(self)(
            torch.cat([self.views, other.views]),
            torch.cat([self.cleans, other.cleans]),
            np.concatenate([self.plans, other.plans]),
            Judgement(*(torch.cat(pair) for pair in zip(self.judged, other.judged, strict=True))),
            np.concatenate([self.parts, other.parts + self.parts.max(initial=-1) + 1]),
        )


class _Trials:
    """Measures gates; frames whose plan is that of the gate that was kept last are not rendered again."""

    def __init__(self, frames: JudgedFrames) -> None:
        self.frames = frames
        pictures = [p.permute(0, 2, 3, 1).double().numpy() for p in (frames.views, frames.cleans)]
        self.pictures = pictures[1]
        before, self.labs = (rgb2lab(p) for p in pictures)
        self.delta_e_before = deltaE_ciede2000(before, self.labs).mean((1, 2))
        self.psnr_before = _psnr_db(*pictures)
        self.is_clean = ~(frames.plans != 0).any(1)
        self.plan = torch.zeros(len(frames.plans), len(Attribute))
        self.delta_e, self.psnr = self.delta_e_before.copy(), self.psnr_before.copy()

    def keep(self, gates: Gates) -> None:
        """Remember a gate's results."""
        plan = gated(self.frames.judged, gates)
        self.delta_e, self.psnr = self._measured(plan)
        self.plan = plan

    def outcome(self, gates: Gates) -> dict[str, float]:
        """Return a gate's figures: mean ΔE2000 change and PSNR gain, and a part's highest shares of harm."""
        delta_e, psnr = self._measured(gated(self.frames.judged, gates))
        change = (delta_e - self.delta_e_before)[~self.is_clean]
        changed = psnr[self.is_clean] < UNCHANGED_PSNR_DB
        return {
            "delta_e_change": float(change.mean()),
            "psnr_gain_db": float((psnr - self.psnr_before)[~self.is_clean].mean()),
            "worse_share": self._share(change > 1, ~self.is_clean),
            "clean_changed": self._share(changed, self.is_clean),
        }

    def _share(self, happened: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> float:
        """Return the highest share of all parts: photos of other sources than training's must not be averaged away."""
        parts = self.frames.parts[among]
        return max(float(happened[parts == part].mean()) for part in np.unique(parts))

    def _measured(self, plan: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        other = (plan != self.plan).any(1)
        delta_e, psnr = self.delta_e.copy(), self.psnr.copy()
        rows = other.numpy()
        rendered = render(plan[other], self.frames.views[other]).permute(0, 2, 3, 1).double().numpy()
        delta_e[rows] = deltaE_ciede2000(rgb2lab(rendered), self.labs[rows]).mean((1, 2))
        psnr[rows] = _psnr_db(rendered, self.pictures[rows])
        return delta_e, psnr


def gated(judged: Judgement, gates: Gates) -> Tensor:
    """Return the tonal plan of every judged frame, ``(N, len(Attribute))``, after the gate, as `apply_gate` gives it.

    Restoration, and attributes that have no gate, are zero.
    """
    columns = [_NEVER if a in RESTORATION else gates.get(a, _NEVER) for a in Attribute]
    keep = judged.presence >= _row(g.presence for g in columns)
    keep &= judged.confidence >= _row(g.confidence for g in columns)
    keep &= judged.plan.abs() >= _row(g.dead_zone for g in columns)
    shrunk = judged.plan * keep * _row(g.shrink for g in columns)
    low, high = (_row(limit / UNITS) for limit in attribute_limits())
    return torch.clamp(shrunk, low, high).to(judged.plan.dtype)


def gate_figures(frames: JudgedFrames, gates: Gates) -> dict[str, float]:
    """Return what a gate gives on frames: mean ΔE2000 change and PSNR gain, and the shares of harm that it does."""
    return _Trials(frames).outcome(gates)


def tune_gate(
    frames: JudgedFrames, on_progress: Callable[[int], object] = lambda _: None
) -> tuple[GateSettings, dict[str, float]]:
    """Choose each attribute's thresholds by coordinate descent.

    The objective is the mean ΔE2000 change of degraded frames less their mean PSNR gain, plus penalties where in any
    part more of them get worse, or more clean frames change visibly, than the aims of `limits` allow. An attribute
    whose mean error would grow in any part stays closed.

    Parameters
    ----------
    frames
        Frames of photos that the critic was not trained on, and what it says of them.
    on_progress
        Called with 1 after each of `TRIALS` trials.

    Returns
    -------
    tuple
        The settings, and the figures they give on these frames.
    """
    trials = _Trials(frames)
    gates: Gates = dict.fromkeys(_TUNED, _NEVER)
    best = _objective(trials.outcome(gates))
    for _ in range(_SWEEPS):
        for attribute in _TUNED:
            for choice in _CHOICES:
                on_progress(1)
                if _harms(frames, attribute, choice):
                    continue
                tried = {**gates, attribute: choice}
                value = _objective(trials.outcome(tried))
                if value < best - 1e-4:
                    best, gates = value, tried
            trials.keep(gates)
    complete = {a: gates.get(a, _NEVER) for a in Attribute}
    complete |= {a: _restoration_gate(frames, a) for a in RESTORATION}
    return GateSettings(attributes=complete), trials.outcome(gates)


def _row(values: Iterable[float]) -> Tensor:
    """Return a row in float64, in which the runtime compares too."""
    return torch.tensor([*values], dtype=torch.float64)


def _psnr_db(pictures: npt.NDArray[np.float64], references: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ratio of each picture in [0, 1], shape ``(N,)``; 100 where it is its reference."""
    error = ((pictures - references) ** 2).mean((1, 2, 3))
    return np.asarray(-10 * np.log10(error + 1e-10), dtype=np.float64)


def _objective(figures: dict[str, float]) -> float:
    too_many_worse = max(0.0, figures["worse_share"] - AIM_WORSE_SHARE)
    too_many_changed = max(0.0, figures["clean_changed"] - (1 - AIM_UNCHANGED_SHARE))
    return figures["delta_e_change"] - figures["psnr_gain_db"] + 40 * too_many_worse + 40 * too_many_changed


def _harms(frames: JudgedFrames, attribute: Attribute, gate: AttributeGate) -> bool:
    """Whether an attribute's mean error would be larger with what this gate lets through than without, anywhere."""
    column = list(Attribute).index(attribute)
    true, judged = frames.plans[:, column], frames.judged
    open_ = (judged.presence[:, column] >= gate.presence) & (judged.plan[:, column].abs() >= gate.dead_zone)
    done = (judged.plan[:, column] * gate.shrink * open_).numpy()
    change = np.abs(true - done) - np.abs(true)
    return any(change[frames.parts == part].mean() > 0 for part in np.unique(frames.parts))


def _restoration_gate(frames: JudgedFrames, attribute: Attribute) -> AttributeGate:
    """Return the gate whose presence lets at most 3 % of any part's frames without the fault be restored, or none."""
    column = list(Attribute).index(attribute)
    without = frames.plans[:, column] == 0
    said = frames.judged.presence[:, column].numpy()
    lowest = [np.quantile(said[without & (frames.parts == part)], 0.97) for part in np.unique(frames.parts[without])]
    presence = float(np.clip(max(lowest), 0.5, 0.995))
    gate = AttributeGate(presence=presence, confidence=0.0, dead_zone=0.05)
    return _NEVER if _harms(frames, attribute, gate) else gate
