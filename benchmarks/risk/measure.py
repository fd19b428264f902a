"""What the gate and the judge risk: photos made worse at each coverage, and proposals of tones worth judging."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from pydantic import Field
from torch import nn

from pocketcrafter.benchmarks.common.markdown import markdown, percent, plain, signed
from pocketcrafter.export.models.critic import FORESEEABLE
from pocketcrafter.export.train.gate_frames import Kind, kinds_of
from pocketcrafter.export.train.gate_tuning import gated
from pocketcrafter.export.train.judge import judge_proposals
from pocketcrafter.export.train.judge_frames import outcomes
from pocketcrafter.export.train.judge_inputs import Proposed
from pocketcrafter.export.train.plan_proposals import ALL, BALANCE, LIGHT, SHIPPED, TONES
from pocketcrafter.export.train.risk import RiskPoint, boldest_allowed, judge_curve, point_of_choice, risk_point
from pocketcrafter.runtime.attribute_gate import AttributeGate
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.plan_judge import Proposal, propose

_SETS: Final = (
    ALL,
    TONES,
    LIGHT,
    BALANCE,
    (*LIGHT, *BALANCE),
    (Attribute.EXPOSURE,),
    (Attribute.EXPOSURE, Attribute.DEHAZE),
    (Attribute.EXPOSURE, Attribute.CONTRAST),
    (Attribute.EXPOSURE, *BALANCE),
    (Attribute.DEHAZE,),
    (Attribute.DEHAZE, *BALANCE),
    (Attribute.CONTRAST, Attribute.SATURATION),
    (Attribute.TEMPERATURE,),
)
_LARGE: Final = tuple(product((ALL, TONES), (0.2, 0.35, 0.5)))
_STRENGTHS: Final = (0.5, 0.75, 1.0, 1.3, 1.6)
_BLOCK: Final = 64
JUDGE: Final = "judge"
SHIPPED_GATE: Final = "tuned gate"
UNIFORM_GATE: Final = "uniform gate"
ORACLE: Final = "oracle"
_SHIFTS: Final = (2.0, 1.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0)
"""Added to the log-odds of the tuned gate's presence thresholds: from strict to lax."""
_THRESHOLDS: Final = (0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
_DEAD_ZONE: Final = 0.2
_SHRINK: Final = 0.85
_FORMATS: Final = (".svg", ".png", ".pdf")
Gates = Mapping[Attribute, AttributeGate]


class Selected(Config):
    """One step of the selection."""

    proposal: Proposal = Field(description="What was taken.")
    gain: float = Field(description="Mean CIEDE2000 that an oracle gains with it and all that were taken before.")
    ships: bool = Field(description="Whether the judge that ships looks at it.")


class Selection(Config):
    """The proposals that forward selection takes, beside those that ship."""

    frames: int = Field(description="Degraded frames.")
    parts: int = Field(description="How many there were to choose from.")
    steps: tuple[Selected, ...] = Field(description="In the order in which they were taken.")
    shipped_gain: float = Field(description="What the oracle gains with those that ship, on the same frames.")


def parts() -> tuple[Proposal, ...]:
    """Return what is chosen from: sets of attributes, and what is large in a plan, each at five strengths."""
    kinds = [*((attributes, 0.0) for attributes in _SETS), *_LARGE]
    return tuple(
        Proposal(attributes=attributes, dead_zone=dead_zone, strength=strength)
        for (attributes, dead_zone), strength in product(kinds, _STRENGTHS)
    )


def select_proposals(
    proposed: Proposed, frames: int, count: int, on_progress: Callable[[int], object] = lambda _: None
) -> Selection:
    """Take one proposal after the other, each time the one that adds most to what an oracle gains.

    Parameters
    ----------
    proposed
        Frames of photos that the critic never saw.
    frames
        How many degraded frames to look at, spread evenly over all of them.
    count
        How many proposals to take.
    on_progress
        Called with the number of frames of each block that is measured.
    """
    rows = np.array(proposed.judged.rows)
    rows = rows[kinds_of(np.array(proposed.evidence.plans[rows])) == Kind.DEGRADED]
    rows = rows[np.linspace(0, len(rows) - 1, min(frames, len(rows))).astype(np.int64)]
    candidates = parts()
    measured = []
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        plans = propose(proposed.said.plan[torch.from_numpy(block)].numpy(), (*candidates, *SHIPPED))
        pictures = (np.array(p[block]) for p in (proposed.evidence.small_views, proposed.evidence.small_cleans))
        measured.append(outcomes(torch.from_numpy(plans), *pictures)[0])
        on_progress(len(block))
    gains = np.concatenate(measured)
    steps = tuple(
        Selected(proposal=candidates[place], gain=gain, ships=candidates[place] in SHIPPED)
        for place, gain in forward_selection(gains[:, : len(candidates)], count)
    )
    best_shipped = np.maximum(gains[:, len(candidates) :].max(1), 0)
    return Selection(frames=len(rows), parts=len(candidates), steps=steps, shipped_gain=float(best_shipped.mean()))


def forward_selection(gains: npt.NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """Return columns in the order in which they add most to the mean of each row's largest gain, none counting as 0.

    Parameters
    ----------
    gains
        ``(N, K)``.
    count
        How many columns.

    Returns
    -------
    list
        Each column and the mean after it was taken.
    """
    best, taken = np.zeros(len(gains), dtype=np.float64), []
    for _ in range(min(count, gains.shape[1])):
        means = np.maximum(best[:, None], gains).mean(0)
        place = int(means.argmax())
        best = np.maximum(best, gains[:, place])
        taken.append((place, float(means[place])))
    return taken


def selection_text(selection: Selection) -> str:
    """Return the steps as a Markdown table, and what those that ship gain."""
    rows = [
        (
            plain(number, 0),
            " ".join(attribute.value for attribute in step.proposal.attributes),
            plain(step.proposal.dead_zone, 2),
            plain(step.proposal.strength, 2),
            plain(step.gain, 2),
            "yes" if step.ships else "",
        )
        for number, step in enumerate(selection.steps, 1)
    ]
    head = ("", "keeps", "above", "strength", "an oracle gains, ΔE2000", "ships")
    said = f"With those that ship an oracle gains {selection.shipped_gain:.2f} on the same {selection.frames} frames."
    return markdown(head, rows) + "\n\n" + said


def risk_curves(proposed: Proposed, judge: nn.Module, gates: Gates) -> list[RiskPoint]:
    """Measure every way to choose on the same frames.

    Parameters
    ----------
    proposed
        Frames of photos that neither critic nor judge was trained on.
    judge
        The judge.
    gates
        The gate that ships, of each attribute.
    """
    rows, frames = np.array(proposed.judged.rows), proposed.frames()
    gains, likeness = proposed.outcomes()
    points = judge_curve(JUDGE, frames, judge_proposals(judge, proposed.judged), gains, likeness)
    views, cleans = (np.array(p[rows]) for p in (proposed.evidence.small_views, proposed.evidence.small_cleans))

    def gate_point(chooser: str, bar: float, tried: Gates) -> RiskPoint:
        gain, alike = outcomes(gated(frames.judged, tried)[:, None], views, cleans)
        return risk_point(chooser, bar, frames, gain[:, 0], alike[:, 0])

    points += [gate_point(SHIPPED_GATE, shift, _shifted(gates, shift)) for shift in _SHIFTS]
    for threshold in _THRESHOLDS:
        alike = AttributeGate(presence=threshold, confidence=0, dead_zone=_DEAD_ZONE, shrink=_SHRINK)
        points.append(gate_point(UNIFORM_GATE, threshold, dict.fromkeys(FORESEEABLE, alike)))
    best = np.where(gains.max(1) > 0, gains.argmax(1), -1)
    return [*points, point_of_choice(ORACLE, 0.0, frames, best, gains, likeness)]


def risk_text(points: Sequence[RiskPoint]) -> str:
    """Return the curves as a Markdown table, and in words what each gains where its harm is allowed."""
    rows = [
        (
            p.chooser,
            plain(p.bar, 2),
            signed(p.delta_e_change, 2),
            f"{p.worse:.1%}",
            percent(p.improved),
            percent(p.touched),
            f"{p.clean_changed:.1%}",
            plain(p.worst_source, 2),
        )
        for p in points
    ]
    head = (
        "chooser",
        "bar",
        "ΔE2000 change",
        "worse",
        "better",
        "touched",
        "clean changed",
        "worst source, of the aim",
    )
    lines = [markdown(head, rows)]
    for chooser in dict.fromkeys(p.chooser for p in points if p.chooser != ORACLE):
        best = boldest_allowed([p for p in points if p.chooser == chooser])
        found = "harms some kind and source of frames beyond the aims at every bar"
        if best is not None:
            found = f"ΔE2000 {best.delta_e_change:+.2f} within the aims in every kind and source (bar {best.bar:g})"
        lines.append(f"{chooser}: {found}.")
    return "\n\n".join(lines)


def plot_risk(points: Sequence[RiskPoint], path: Path) -> None:
    """Draw gain over harm, a line for each chooser; written through a temporary file.

    Parameters
    ----------
    points
        Of `risk_curves`.
    path
        SVG, PNG or PDF by its suffix.

    Raises
    ------
    ConfigError
        If the suffix is another one, or the file cannot be written.
    """
    if path.suffix not in _FORMATS:
        raise ConfigError(f"{path}: a plot is written as {', '.join(_FORMATS)}.")
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = (("worse", "degraded frames made worse"), ("clean_changed", "clean frames changed"))
    for axes, (harm, label) in zip(figure.subplots(1, 2), panels, strict=True):
        for chooser in dict.fromkeys(p.chooser for p in points):
            of_one = sorted((p for p in points if p.chooser == chooser), key=lambda p: p.delta_e_change)
            axes.plot([getattr(p, harm) for p in of_one], [-p.delta_e_change for p in of_one], "o-", label=chooser)
        axes.set_xlabel(f"{label} (share)")
        axes.set_ylabel("ΔE2000 gained")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:], dpi=150)
    write_bytes(path, drawn.getvalue())


def _shifted(gates: Gates, shift: float) -> Gates:
    """Return gates whose presence thresholds are moved in log-odds; closed ones stay closed."""
    moved = {}
    for attribute, gate in gates.items():
        presence = gate.presence
        if 0 < presence < 1:
            presence = 1 / (1 + (1 - presence) / presence * math.exp(-shift))
        moved[attribute] = gate.model_copy(update={"presence": presence})
    return moved
