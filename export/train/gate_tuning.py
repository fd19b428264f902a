"""Tuning the attribute gate: thresholds that improve degraded frames of unseen photos and leave the others unchanged.

Harm is bounded separately for every kind of frame and every source of photos. A mean over all sources would hide that
photos of one source (dark or soft on purpose) are changed several times as often as the others, and the photos of a
user come from a source that was not seen at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.train.gate_frames import ALONE, JudgedFrames, Kind, kinds_of
from pocketcrafter.export.train.limits import AIM_CHANGED_SHARE, AIM_WORSE_SHARE, MAX_OPENED_SHARE, UNCHANGED_PSNR_DB
from pocketcrafter.runtime.attribute_gate import AttributeGate, GateSettings
from pocketcrafter.runtime.plan import RESTORATION, TONAL, UNITS, Attribute, attribute_limits

_PRESENCES: Final = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
_DEAD_ZONES: Final = (0.0, 0.2, 0.4)
_CONFIDENCES: Final = (0.0, 0.5, 0.7, 0.9)
_SHRINKS: Final = (0.85, 1.0)
_CHOICES: Final = [
    AttributeGate(presence=p, confidence=c, dead_zone=d, shrink=s)
    for p, d, c, s in product(_PRESENCES, _DEAD_ZONES, _CONFIDENCES, _SHRINKS)
    if d == 0 or (c == 0 and s == 0.85)
]
_BUDGETS: Final = (0.25, 0.5, 0.75, 1.0, 1.0)
"""Shares of the allowed harm, released in rounds: otherwise the first attribute would use all of it."""
_SAID: Final = ("plan", "presence", "confidence")
_NEVER: Final = AttributeGate(presence=1.0, confidence=1.0, dead_zone=4.0, shrink=0.0)
_TUNED: Final[Sequence[Attribute]] = [a for a in TONAL if a not in (Attribute.HIGHLIGHTS, Attribute.SHADOWS)]
TRIALS: Final = len(_BUDGETS) * len(_TUNED) * len(_CHOICES)
"""How many gates `tune_gate` tries."""
_RESTORING: Final = [AttributeGate(presence=p, confidence=0.0, dead_zone=0.05) for p in _PRESENCES]

AttributeGates = Mapping[Attribute, AttributeGate]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GateFigures:
    """What a gate does to frames.

    Attributes
    ----------
    delta_e_change, psnr_gain_db
        Of degraded frames, the mean over sources.
    harmed
        The share of frames that are harmed in the source where it is highest, by kind.
    """

    delta_e_change: float
    psnr_gain_db: float
    harmed: Mapping[Kind, float]

    def allowed(self, budget: float = 1.0) -> bool:
        """Whether harm stays within a share of what the aims of `limits` allow."""
        return all(
            share <= budget * (AIM_CHANGED_SHARE if kind is Kind.CLEAN else AIM_WORSE_SHARE)
            for kind, share in self.harmed.items()
        )


class _Trials:
    """Measures gates; frames for which a gate gives the same plan as the one kept before are not rendered again."""

    def __init__(self, frames: JudgedFrames) -> None:
        self.frames = frames
        self.before, self.clean = (p.permute(0, 2, 3, 1).double().numpy() for p in (frames.views, frames.cleans))
        self.labs = rgb2lab(self.clean)
        self.kinds = kinds_of(frames.plans)
        self.plan = torch.zeros(len(frames.plans), len(Attribute))
        delta_e = deltaE_ciede2000(rgb2lab(self.before), self.labs).mean((1, 2))
        self.untouched = np.stack([delta_e, _psnr_db(self.before, self.clean), _psnr_db(self.before, self.before)])
        self.kept = self.untouched

    def keep(self, gates: AttributeGates) -> None:
        """Remember a gate's results."""
        plan = gated(self.frames.judged, gates)
        self.kept = self._measured(plan)
        self.plan = plan

    def outcome(self, gates: AttributeGates) -> GateFigures:
        """Return a gate's figures."""
        delta_e, psnr, likeness = measured = self._measured(gated(self.frames.judged, gates))
        change = measured - self.untouched
        degraded = self.kinds == Kind.DEGRADED
        # No tone is to be mended in frames of the other kinds: there every visible change is harm.
        harmed = np.where(degraded, change[0] > 1, likeness < UNCHANGED_PSNR_DB).astype(np.float64)
        return GateFigures(
            delta_e_change=float(self.frames.by_source(delta_e - self.untouched[0], degraded).mean()),
            psnr_gain_db=float(self.frames.by_source(psnr - self.untouched[1], degraded).mean()),
            harmed={
                kind: float(self.frames.by_source(harmed, self.kinds == kind).max())
                for kind in Kind
                if (self.kinds == kind).any()
            },
        )

    def _measured(self, plan: Tensor) -> _Floats:
        """Return CIEDE2000 and PSNR against the clean frame, and PSNR against the frame as it was: ``(3, N)``."""
        other = (plan != self.plan).any(1)
        rows = other.numpy()
        rendered = render(plan[other], self.frames.views[other]).permute(0, 2, 3, 1).double().numpy()
        measured = self.kept.copy()
        measured[0, rows] = deltaE_ciede2000(rgb2lab(rendered), self.labs[rows]).mean((1, 2))
        measured[1, rows] = _psnr_db(rendered, self.clean[rows])
        measured[2, rows] = _psnr_db(rendered, self.before[rows])
        return measured


def gated(judged: Judgement, gates: AttributeGates) -> Tensor:
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


def gate_figures(frames: JudgedFrames, gates: AttributeGates) -> GateFigures:
    """Return what a gate does to frames."""
    return _Trials(frames).outcome(gates)


def tune_gate(
    frames: JudgedFrames, on_progress: Callable[[int], object] = lambda _: None
) -> tuple[GateSettings, GateFigures]:
    """Choose each attribute's thresholds by coordinate descent from a gate that is closed.

    What is sought is the lowest mean ΔE2000 of degraded frames. A gate that does more harm than `limits` aim at, to any
    kind of frames of any source, is not taken, nor one that leaves an attribute further from the truth than it was.

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
    gates: AttributeGates = dict.fromkeys(_TUNED, _NEVER)
    best = trials.outcome(gates)
    harmless = {a: [c for c in _CHOICES if _error_changes(frames, a, c).max() <= 0] for a in _TUNED}
    for budget in _BUDGETS:
        for attribute in _TUNED:
            for choice in _CHOICES:
                on_progress(1)
                if choice not in harmless[attribute]:
                    continue
                tried = {**gates, attribute: choice}
                figures = trials.outcome(tried)
                if figures.allowed(budget) and figures.delta_e_change < best.delta_e_change - 1e-4:
                    best, gates = figures, tried
            trials.keep(gates)
    complete = {a: gates.get(a, _NEVER) for a in Attribute} | tune_restoration(frames)
    return GateSettings(attributes=complete), best


def tune_restoration(frames: JudgedFrames) -> dict[Attribute, AttributeGate]:
    """Choose the thresholds of noise, blur and JPEG alone; arguments as in `tune_gate`, but nothing is rendered."""
    return {a: _restoration_gate(frames, a) for a in RESTORATION}


def _row(values: Iterable[float]) -> Tensor:
    """Return a row in float64, in which the runtime compares too."""
    return torch.tensor([*values], dtype=torch.float64)


def _psnr_db(pictures: _Floats, references: _Floats) -> _Floats:
    """Return the ratio of each picture in [0, 1], shape ``(N,)``; 100 where it is its reference."""
    error = ((pictures - references) ** 2).mean((1, 2, 3))
    return np.asarray(-10 * np.log10(error + 1e-10), dtype=np.float64)


def _opened(frames: JudgedFrames, attribute: Attribute, gate: AttributeGate) -> _Floats:
    """Return the amount that a gate lets through, of every frame, in plan-vector units; 0 where it stays closed."""
    column = list(Attribute).index(attribute)
    plan, presence, confidence = (getattr(frames.judged, f)[:, column].double().numpy() for f in _SAID)
    open_ = (presence >= gate.presence) & (confidence >= gate.confidence) & (np.abs(plan) >= gate.dead_zone)
    return np.asarray(plan * gate.shrink * open_, dtype=np.float64)


def _error_changes(frames: JudgedFrames, attribute: Attribute, gate: AttributeGate, *more: Kind) -> _Floats:
    """Return how an attribute's mean error changes in each source, over as many degraded frames as clean ones."""
    true = frames.plans[:, list(Attribute).index(attribute)]
    change = np.abs(true - _opened(frames, attribute, gate)) - np.abs(true)
    kinds = kinds_of(frames.plans)
    there = [kinds == kind for kind in (Kind.DEGRADED, Kind.CLEAN, *more) if (kinds == kind).any()]
    changes = [frames.by_source(change, place) for place in there]
    return np.asarray(np.mean(changes, axis=0), dtype=np.float64)


def _restoration_gate(frames: JudgedFrames, attribute: Attribute) -> AttributeGate:
    """Return the gate that brings an attribute nearest to the truth, also where nothing else is wrong, or none.

    In no source may it open for more of the frames without the fault than `limits` allows.
    """
    without = frames.plans[:, list(Attribute).index(attribute)] == 0
    best, chosen = 0.0, _NEVER
    for gate in _RESTORING:
        opened = (_opened(frames, attribute, gate) != 0).astype(np.float64)
        if without.any() and frames.by_source(opened, without).max() > MAX_OPENED_SHARE:
            continue
        if _error_changes(frames, attribute, gate).mean() > 0:
            continue
        change = float(_error_changes(frames, attribute, gate, ALONE[attribute]).mean())
        if change < best:
            best, chosen = change, gate
    return chosen
