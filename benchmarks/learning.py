"""What bounds the critic: means of trainings on parts of the photos, the gain of each doubling, and their plot."""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from pydantic import Field

from pocketcrafter.benchmarks.common.markdown import markdown, signed
from pocketcrafter.export.train.learning import LearningPoint
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes

_FORMATS: Final = (".svg", ".png", ".pdf")
_MARKS: Final = ("o-", "s--", "^:", "D-.", "v-")


class LearningMean(Config):
    """The trainings on as many photos and frames."""

    photos: int
    frames: int
    trainings: int
    plan_r2: float
    plan_r2_spread: float | None = Field(description="Standard deviation over trainings; null for a single one.")
    delta_e_change: float
    delta_e_spread: float | None


class Doubling(Config):
    """What twice as much of one thing brings, by least squares over the logarithm of its number."""

    of: str = Field(description="photos or frames.")
    at: int = Field(description="How many there are of the other; the most that was measured.")
    plan_r2: float
    delta_e_change: float


def means(points: Sequence[LearningPoint]) -> list[LearningMean]:
    """Average trainings on as many photos and frames; ordered by frames, then photos."""
    sizes = sorted({(p.frames, p.photos) for p in points})
    return [_mean([p for p in points if (p.frames, p.photos) == size]) for size in sizes]


def doublings(averages: Sequence[LearningMean]) -> list[Doubling]:
    """Return what twice the photos and twice the frames bring, each at the most of the other that tells."""
    found = []
    for of, other in (("photos", "frames"), ("frames", "photos")):
        for at in sorted({getattr(m, other) for m in averages}, reverse=True):
            chosen = [m for m in averages if getattr(m, other) == at]
            if len(chosen) >= 2:
                counts = [getattr(m, of) for m in chosen]
                slopes = (
                    _slope(counts, [getattr(m, figure) for m in chosen]) for figure in ("plan_r2", "delta_e_change")
                )
                found.append(Doubling(of=of, at=at, **dict(zip(("plan_r2", "delta_e_change"), slopes, strict=True))))
                break
    return found


def learning_text(averages: Sequence[LearningMean], found: Sequence[Doubling]) -> str:
    """Return the means as a Markdown table, and the doublings in words."""
    rows = [
        (
            str(m.photos),
            str(m.frames),
            str(m.trainings),
            signed(m.plan_r2, 3) + _spread(m.plan_r2_spread),
            signed(m.delta_e_change, 2) + _spread(m.delta_e_spread),
        )
        for m in averages
    ]
    lines = [markdown(("photos", "frames", "trainings", "plan R²", "ΔE2000 change"), rows)]
    other = {"photos": "frames", "frames": "photos"}
    lines += [
        f"Twice the {d.of} (at {d.at} {other[d.of]}): R² {d.plan_r2:+.3f}, ΔE2000 {d.delta_e_change:+.2f}."
        for d in found
    ]
    return "\n\n".join(lines)


def _mean(points: Sequence[LearningPoint]) -> LearningMean:
    def of(value: Callable[[LearningPoint], float]) -> tuple[float, float | None]:
        values = [value(p) for p in points]
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None

    (r2, r2_spread), (change, change_spread) = of(lambda p: p.plan_r2), of(lambda p: p.delta_e_change)
    return LearningMean(
        photos=points[0].photos,
        frames=points[0].frames,
        trainings=len(points),
        plan_r2=r2,
        plan_r2_spread=r2_spread,
        delta_e_change=change,
        delta_e_spread=change_spread,
    )


def _slope(counts: Sequence[int], values: Sequence[float]) -> float:
    return float(np.polyfit([math.log2(count) for count in counts], values, 1)[0])


def _spread(value: float | None) -> str:
    return "" if value is None else f" ± {value:.2f}"


def plot_curve(averages: Sequence[LearningMean], path: Path) -> None:
    """Draw both figures over photos, a line for each number of frames; written through a temporary file.

    Parameters
    ----------
    averages
        At least one.
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
    left, right = figure.subplots(1, 2)
    sizes = sorted({m.frames for m in averages})
    for number, frames in enumerate(sizes):
        chosen = sorted((m for m in averages if m.frames == frames), key=lambda m: m.photos)
        photos, mark = [m.photos for m in chosen], _MARKS[number % len(_MARKS)]
        label = f"{frames:,} frames"
        left.errorbar(
            photos, [m.plan_r2 for m in chosen], [m.plan_r2_spread or 0 for m in chosen], fmt=mark, label=label
        )
        right.errorbar(
            photos, [m.delta_e_change for m in chosen], [m.delta_e_spread or 0 for m in chosen], fmt=mark, label=label
        )
    counts = sorted({m.photos for m in averages})
    _name(left, counts, "plan R² (more is better)")
    _name(right, counts, "ΔE2000 change (less is better)")
    left.legend(frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:], dpi=150)
    write_bytes(path, drawn.getvalue())


def _name(axes: Axes, counts: Sequence[int], label: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("photos")
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
