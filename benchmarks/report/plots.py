"""The report's plots, as SVG that takes its colors from the page and so follows its dark mode."""

import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pocketcrafter.benchmarks.bisect.results import BisectReport
from pocketcrafter.benchmarks.latency.results import CaseResult, SustainedCurve
from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.benchmarks.profile.results import NetworkProfile, OpProfile
from pocketcrafter.benchmarks.quantization.sensitivity import SensitivityReport

INK: Final = "#010203"
FAINT: Final = "#010204"
OURS: Final = "#010205"
OTHER: Final = "#010206"
KINDS: Final = ("#010207", "#010208", "#010209", "#01020a", "#01020b", "#01020c")
"""Colors of six kinds of things; they carry ink on them."""

_COLORS: Final[Mapping[str, str]] = {
    INK: "var(--ink)",
    FAINT: "var(--line)",
    OURS: "var(--ours)",
    OTHER: "var(--other)",
    **{color: f"var(--kind-{number})" for number, color in enumerate(KINDS)},
}
"""Colors that nothing else has, and the page's own that take their place."""

_WIDTH_INCHES: Final = 4.0
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, read out and scaled
    "text.parse_math": False,  # a name with dollar signs is a name
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_PROLOG: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_NAMESPACES: Final = re.compile(r'\sxmlns(:xlink)?="[^"]*"')
_ID: Final = re.compile(r'\sid="([^"]*)"')
_REFERENCE: Final = re.compile(r'(?:"#|url\(#)([^")]+)')
_SIZE: Final = re.compile(r'(<svg[^>]*?)\swidth="[^"]*"|(<svg[^>]*?)\sheight="[^"]*"')

_MOST_UNITS: Final = 15
_LEAST_LABELED: Final = 0.09
"""Share of the width below which a name does not fit."""

_LEAST_DB: Final = -10.0
_MOST_DB: Final = 120.0
"""Ratios outside are drawn at the edge."""
_MOST_NAMES: Final = 4

_ROWS: Final = 3
_CHAR: Final = 0.0175
"""Share of the width that a character takes."""

KIND_COLORS: Final[Mapping[LayerKind, str]] = dict(zip(LayerKind, KINDS, strict=True))
"""A color of the page for each kind of layer."""


def latency_bars(cases: Sequence[CaseResult], title: str) -> Markup:
    """Draw medians with their 95 % intervals, and a mark at p90, one bar a runner.

    Parameters
    ----------
    cases
        Of one component and one number of threads; at least one.
    title
        What the picture is called for those who cannot see it.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(_WIDTH_INCHES, 0.6 + 0.58 * len(cases)), layout="constrained")
        axes = figure.subplots()
        for row, case in enumerate(cases):
            median, ends = case.warm.median_ms, case.warm.median_interval_ms
            axes.barh(row, median, height=0.5, color=OURS if case.ours else OTHER)
            if ends is not None:
                axes.errorbar(
                    median, row, xerr=[[median - ends.low], [ends.high - median]], color=INK, capsize=4, lw=1.3
                )
            axes.plot(case.warm.p90_ms, row, marker="|", markersize=11, color=INK)
            axes.annotate(
                f"{_short(case.runner)}: {_rounded(median)} ms{' (noisy)' if case.noisy else ''}",
                (0, row - 0.25),
                xytext=(1, 2.5),
                textcoords="offset points",
                va="bottom",
            )
        axes.set_yticks([])
        axes.set_ylim(-0.72, len(cases) - 0.6)
        axes.invert_yaxis()
        axes.spines["left"].set_visible(False)
        axes.set_xlim(left=0)
        axes.set_xlabel("ms for one inference")
        return svg_of(figure, title)


def layer_errors(report: BisectReport, title: str) -> Markup:
    """Draw each layer's own error, what rounding makes of it, and the drift up to it, in running order.

    Parameters
    ----------
    report
        With at least one layer.
    title
        What the picture is called for those who cannot see it.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(2 * _WIDTH_INCHES, 3.0), layout="constrained")
        axes = figure.subplots()
        places = range(len(report.layers))
        axes.plot(places, [_shown_db(row.drift_db) for row in report.layers], color=OTHER, label="drift", lw=1.3)
        axes.plot(
            places, [_shown_db(row.rounding_db) for row in report.layers], color=FAINT, label="rounding alone", lw=1.3
        )
        axes.scatter(places, [_shown_db(row.local_db) for row in report.layers], color=OURS, s=9, label="own error")
        for row in report.strange[:_MOST_NAMES]:
            place = report.layers.index(row)
            axes.annotate(
                row.layer, (place, _shown_db(row.local_db)), xytext=(4, -9), textcoords="offset points", color=INK
            )
        axes.set_ylim(_LEAST_DB - 3, _MOST_DB + 3)
        axes.set_xlabel("operators in running order")
        axes.set_ylabel("dB; lower is worse")
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
        return svg_of(figure, title)


def _shown_db(ratio: float) -> float:
    return min(max(ratio, _LEAST_DB), _MOST_DB)


def sustained_lines(curves: Sequence[SustainedCurve], title: str) -> Markup:
    """Draw each curve's latency over the time of the run; at least one curve."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(_WIDTH_INCHES, 2.6), layout="constrained")
        axes = figure.subplots()
        styles = ("-", "--", ":", "-.")
        for number, curve in enumerate(curves):
            axes.plot(
                [p.seconds / 60 for p in curve.points],
                [p.median_ms for p in curve.points],
                color=OURS if number < len(styles) else OTHER,
                linestyle=styles[number % len(styles)],
                label=f"{curve.component} on {_short(curve.runner)}, {curve.threads} thr.",
            )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("minutes without a pause")
        axes.set_ylabel("ms for one inference")
        axes.legend(frameon=False, fontsize=8)
        return svg_of(figure, title)


def _rounded(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def figure_of(height_inches: float) -> tuple[Figure, Axes]:
    """Return a figure of the report's width with one plot in it."""
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
    return figure, figure.subplots()


def svg_of(figure: Figure, title: str) -> Markup:
    """Return a figure as SVG in the page's own colors; ``title`` is for those who cannot see it."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    text = _NAMESPACES.sub("", _METADATA.sub("", _PROLOG.sub("", out.getvalue())))
    text = _SIZE.sub(lambda m: m[1] or m[2], text, count=2)
    # Groups are called `axes_1` in every plot; on one page, each name may be given only once.
    used = set(_REFERENCE.findall(text))
    text = _ID.sub(lambda m: m[0] if m[1] in used else "", text)
    for sentinel, variable in _COLORS.items():
        text = text.replace(sentinel, variable)
    # Matplotlib escapes what it writes; the title goes in here, escaped by Markup.
    return Markup(text).replace(  # noqa: S704
        Markup("<svg"), Markup('<svg role="img" aria-label="{}"').format(title), 1
    )


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
                _cell(axes, 2, start, share, _short_layer(layer), KIND_COLORS[kind])
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


def _short_layer(layer: str) -> str:
    """Return the last word of a layer's name, with the one before it where it is a number."""
    words = layer.split(".")
    return ".".join(words[-2:]) if words[-1].isdigit() else words[-1]


def _cell(axes: Axes, row: int, left: float, width: float, name: str, color: str) -> None:
    axes.barh(row, width, left=left, height=0.92, color=color, edgecolor=INK, linewidth=0.3)
    if width >= _LEAST_LABELED:
        fits = max(1, int(width / _CHAR))
        text = name if len(name) <= fits else name[: fits - 1] + "…"
        axes.text(left + width / 2, row, text, ha="center", va="center", fontsize=8, clip_on=True)
