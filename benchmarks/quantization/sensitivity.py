"""Which modules can take it: each quantized alone, ranked by the damage that is seen in the end."""

from pydantic import Field

from pocketcrafter.benchmarks.quality.tables import markdown, plain
from pocketcrafter.benchmarks.quantization.damage import Damage
from pocketcrafter.benchmarks.quantization.journal import Head
from pocketcrafter.benchmarks.quantization.workers import Laboratory, Progress
from pocketcrafter.runtime.config import Config


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
