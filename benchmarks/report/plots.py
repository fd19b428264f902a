"""The report's plots, as SVG that takes its colors from the page and so follows it into the dark."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pocketcrafter.benchmarks.latency.results import CaseResult, SustainedCurve

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
