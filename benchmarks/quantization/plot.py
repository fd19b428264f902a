"""The ranking as a picture: bars of damage, dots of tensor ratios."""

import io
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.quantization.sensitivity import SensitivityReport
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes

FORMATS: Final = frozenset({".png", ".svg"})
_MOST: Final = 40


def check_plot(path: Path | None) -> None:
    """Refuse a plot that could not be written, before anything is measured.

    Raises
    ------
    ConfigError
        If the suffix is neither ``.png`` nor ``.svg``.
    """
    if path is not None and path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{path}: plots are .png or .svg.")


def plot_sensitivity(report: SensitivityReport, path: Path) -> None:
    """Draw the most harmful units; written under a temporary name first."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second to import

    rows = report.units[:_MOST][::-1]
    figure = Figure(figsize=(8, 1.5 + 0.22 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh(places, [row.damage.seen for row in rows], color="#4477aa")
    axes.set_yticks(places, [row.unit for row in rows], fontsize=7)
    words = report.everything.disagreement is not None
    axes.set_xlabel("share of greedy choices that differ" if words else "mean ΔE2000 of the pictures")
    axes.set_title(f"{report.head.trial.component}: each module quantized alone", fontsize=10)
    other = axes.twiny()
    known = [(place, r.damage.sqnr_db) for place, r in zip(places, rows, strict=True) if r.damage.sqnr_db is not None]
    other.plot([ratio for _, ratio in known], [place for place, _ in known], "o", color="#cc6677", markersize=3)
    other.set_xlabel("SQNR of the network's outputs, dB (dots)")
    drawn = io.BytesIO()
    figure.savefig(
        drawn, format=path.suffix[1:].lower(), dpi=150, metadata={"Date": None} if path.suffix == ".svg" else {}
    )
    write_bytes(path, drawn.getvalue())
