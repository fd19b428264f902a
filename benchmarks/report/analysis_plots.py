"""The report's plots of where time, size and harm come from: icicles, the size against the error, sensitivity."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes

from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.benchmarks.profile.results import NetworkProfile, OpProfile
from pocketcrafter.benchmarks.quantization.sensitivity import SensitivityReport
from pocketcrafter.benchmarks.report.plots import FAINT, INK, KINDS, OTHER, OURS, STYLE, figure_of, svg_of

_MOST_UNITS: Final = 15
_LEAST_LABELED: Final = 0.09
"""Share of the width below which a name does not fit."""

_ROWS: Final = 3
_CHAR: Final = 0.0175
"""Share of the width that a character takes."""

KIND_COLORS: Final[Mapping[LayerKind, str]] = dict(zip(LayerKind, KINDS, strict=True))
"""A color of the page for each kind of layer."""


def icicle(network: NetworkProfile, title: str) -> Markup:
    """Draw where a network's time goes: the whole, its parts, their layers, each as wide as its share.

    Parameters
    ----------
    network
        With times, or else with MACs, which take their place.
    title
        What the picture is called for those who cannot see it.
    """
    parts = _grouped(network.ops)
    total = sum(cost for layers in parts.values() for cost, _ in layers.values()) or 1.0
    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        figure, axes = figure_of(1.5)
        _cell(axes, 0, 0.0, 1.0, f"{network.component}", FAINT)
        left = 0.0
        for part, layers in parts.items():
            width = sum(cost for cost, _ in layers.values()) / total
            _cell(axes, 1, left, width, part, FAINT)
            start = left
            for layer, (cost, kind) in layers.items():
                share = cost / total
                _cell(axes, 2, start, share, _short(layer), KIND_COLORS[kind])
                start += share
            left += width
        axes.set_xlim(0, 1)
        axes.set_ylim(_ROWS - 0.5, -0.5)
        axes.axis("off")
        return svg_of(figure, title)


def size_against_error(points: Sequence[tuple[str, float, float]], title: str) -> Markup:
    """Draw targets by their size in MiB and their mean ΔE2000 to full precision; smaller is better on both axes."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        figure, axes = figure_of(2.6)
        best = [p for p in points if not any(q[1] <= p[1] and q[2] <= p[2] and q[1:] != p[1:] for q in points)]
        front = sorted(best, key=lambda p: p[1])
        axes.plot([p[1] for p in front], [p[2] for p in front], color=OTHER, linestyle="--", linewidth=1)
        for name, size, error in points:
            axes.plot(size, error, "o", color=OURS, markersize=8)
            axes.annotate(name, (size, error), xytext=(0, 8), textcoords="offset points", ha="center")
        axes.margins(x=0.35)
        axes.set_ylim(0, 1.35 * max(error for _, _, error in points) or 1.0)
        axes.set_xlabel("MiB of artifacts")
        axes.set_ylabel("mean ΔE2000 to full precision")
        return svg_of(figure, title)


def sensitivity_bars(report: SensitivityReport, title: str) -> Markup:
    """Draw what each part does to the end result when it alone is quantized, the most harmful first."""
    rows = report.units[:_MOST_UNITS]
    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        figure, axes = figure_of(0.7 + 0.36 * len(rows))
        for number, row in enumerate(rows):
            axes.barh(number, row.damage.seen, height=0.35, color=OURS)
            axes.annotate(
                f"{row.unit}: {row.damage.seen:.3g}", (0, number - 0.2), xytext=(1, 1), textcoords="offset points",
                va="bottom", fontsize=8,
            )  # fmt: skip
        axes.set_yticks([])
        axes.set_ylim(-0.8, len(rows) - 0.5)
        axes.invert_yaxis()
        axes.spines["left"].set_visible(False)
        words = report.everything.disagreement is not None
        axes.set_xlabel("share of greedy choices that differ" if words else "mean ΔE2000 of the pictures")
        return svg_of(figure, title)


def _grouped(ops: Sequence[OpProfile]) -> dict[str, dict[str, tuple[float, LayerKind]]]:
    """Return cost and dearest kind by part and layer, in running order; a part is the first word of a layer's name."""
    timed = any(op.ms for op in ops)
    costs: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    kinds: dict[tuple[str, str], tuple[float, LayerKind]] = {}
    for op in ops:
        cost = (op.ms or 0.0) if timed else float(op.macs)
        layer = op.layer or "before the first layer"
        part = layer.split(".")[0] if not layer.startswith("forward: ") else "forward"
        costs[part][layer] += cost
        known = kinds.get((part, layer), (-1.0, LayerKind.OTHER))
        kinds[part, layer] = max(known, (cost, op.kind), key=lambda pair: pair[0])
    return {
        part: {layer: (cost, kinds[part, layer][1]) for layer, cost in layers.items()} for part, layers in costs.items()
    }


def _short(layer: str) -> str:
    """Return the last word of a layer's name, with the one before it where it is a number."""
    words = layer.split(".")
    return ".".join(words[-2:]) if words[-1].isdigit() else words[-1]


def _cell(axes: Axes, row: int, left: float, width: float, name: str, color: str) -> None:
    axes.barh(row, width, left=left, height=0.92, color=color, edgecolor=INK, linewidth=0.3)
    if width >= _LEAST_LABELED:
        fits = max(1, int(width / _CHAR))
        text = name if len(name) <= fits else name[: fits - 1] + "…"
        axes.text(left + width / 2, row, text, ha="center", va="center", fontsize=8, clip_on=True)
