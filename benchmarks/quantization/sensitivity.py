"""How much each unit's quantization alone costs, and its plot."""

import io
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.quantization.laboratory import Head, Laboratory
from pocketcrafter.benchmarks.quantization.subjects import Damage
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.progress import Progress

FORMATS: Final = frozenset({".png", ".svg"})
_MOST: Final = 40


class UnitDamage(Config):
    """One module quantized, everything else in full precision."""

    unit: str
    damage: Damage
    saved: int = Field(description="Bytes that it saves.")


class SensitivityReport(Config):
    """What `pocketcrafter quantize sensitivity` found."""

    head: Head
    everything: Damage = Field(description="All units quantized at once.")
    units: tuple[UnitDamage, ...] = Field(description="The most harmful first.")


def sensitivity(head: Head, laboratory: Laboratory, progress: Progress | None = None) -> SensitivityReport:
    """Quantize each unit alone, and all together.

    Parameters
    ----------
    head
        What is measured, for the report.
    laboratory
        Measures networks.
    progress
        Called with networks done and networks in all.
    """
    trial = laboratory.trial
    everything, *alone = laboratory.measure([trial.units, *([u] for u in trial.units)], progress)
    whole = trial.size(())
    rows = [
        UnitDamage(unit=unit, damage=one.damage, saved=whole - one.size)
        for unit, one in zip(trial.units, alone, strict=True)
    ]
    ranked = sorted(rows, key=lambda row: row.damage.order, reverse=True)
    return SensitivityReport(head=head, everything=everything.damage, units=tuple(ranked))


def sensitivity_table(report: SensitivityReport) -> str:
    """Return the ranking as a Markdown table, all units together first."""
    rows = [("all together", *damage_cells(report.everything), "")]
    rows += [(row.unit, *damage_cells(row.damage), f"{row.saved / 1024:.1f}") for row in report.units]
    head = ("quantized", "ΔE2000 mean", "worst", "PSNR dB", "plan error", "tokens that differ", "SQNR dB", "saves KiB")
    return markdown(head, rows)


def damage_cells(damage: Damage) -> tuple[str, ...]:
    """Return a damage as cells: ΔE2000 mean and worst, PSNR, plan error, tokens, SQNR."""
    return (
        plain(damage.delta_e, 3),
        plain(damage.delta_e_worst, 3),
        plain(damage.psnr_db, 1),
        plain(damage.plan_error, 4),
        "–" if damage.disagreement is None else f"{damage.disagreement:.2%}",
        plain(damage.sqnr_db, 1),
    )


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
