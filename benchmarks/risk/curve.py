"""Risk-coverage curves of what may choose a plan: the judge at each bar, gates from strict to lax, and an oracle."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from pocketcrafter.benchmarks.common.markdown import markdown, percent, plain, signed
from pocketcrafter.export.models.critic import FORESEEABLE
from pocketcrafter.export.train.gate_tuning import gated
from pocketcrafter.export.train.judge import judge_proposals
from pocketcrafter.export.train.judge_frames import outcomes
from pocketcrafter.export.train.judge_inputs import Proposed
from pocketcrafter.export.train.risk import RiskPoint, boldest_allowed, judge_curve, point_of_choice, risk_point
from pocketcrafter.runtime.attribute_gate import AttributeGate
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.plan import Attribute

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
