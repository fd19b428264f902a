"""The learning curve as a picture: the critic's R² and the picture's color error over the number of photos."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from pocketcrafter.benchmarks.learning.curve import LearningMean
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes

_FORMATS: Final = (".svg", ".png", ".pdf")
_MARKS: Final = ("o-", "s--", "^:", "D-.", "v-")


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
