"""The cheapest network within a gate, or the best within a size: units made dear one after the other, each measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.quantization.laboratory import Head, Laboratory, Measured
from pocketcrafter.benchmarks.quantization.sensitivity import sensitivity
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError, GateError
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.targets import ONNX
from pocketcrafter.runtime.validation import check

Positive = Annotated[float, Field(gt=0)]
_MEBI: Final = 1 << 20


class Budget(Config):
    """What the network may cost: bytes, or damage."""

    size: Positive | None = Field(None, description="Most bytes of weights.")
    gate: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Most damage: mean ΔE2000, or the share of choices that differ."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.size is None) == (self.gate is None):
            raise ValueError("a budget is a size or a gate")
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``size=1.5MB`` or ``gate=0.3``.

        Raises
        ------
        ConfigError
            If it is neither.
        """
        key, _, value = text.partition("=")
        number, factor = value, 1.0
        for suffix, scale in (("MB", _MEBI), ("KB", 1024.0)):
            if key == "size" and value.upper().endswith(suffix):
                number, factor = value[: -len(suffix)], scale
        wrong = f"--budget {text}: say size=1.5MB, size=300KB or gate=0.3"
        try:
            amount = float(number) * factor
        except ValueError as error:
            raise ConfigError(f"{wrong}.") from error
        return check(cls, {key: amount}, wrong)

    def allows(self, measured: Measured) -> bool:
        """Whether a network is within it."""
        if self.size is not None:
            return measured.size <= self.size
        return self.gate is not None and measured.damage.seen <= self.gate


class SearchReport(Config):
    """What `pocketcrafter quantize search` found."""

    head: Head
    budget: Budget
    candidates: tuple[Measured, ...] = Field(description="Every network that was measured, the smallest first.")
    front: tuple[Measured, ...] = Field(description="Those that no other one beats in both size and damage.")
    chosen: Measured
    dear: tuple[str, ...] = Field(description="Its units that stay dear, in graph order.")


def search(head: Head, laboratory: Laboratory, budget: Budget, progress: Progress | None = None) -> SearchReport:
    """Make unit after unit dear, the most harm for its bytes first, and measure each network.

    Parameters
    ----------
    head
        What is measured, for the report.
    laboratory
        Measures networks.
    budget
        Largest damage, or largest size.
    progress
        Called with networks done and networks in all.

    Raises
    ------
    GateError
        If no network is within the budget.
    """
    trial = laboratory.trial
    ranking = sensitivity(head, laboratory, progress)
    worth = sorted(ranking.units, key=lambda row: (row.damage.seen / max(row.saved, 1), row.damage.order), reverse=True)
    order = [row.unit for row in worth]
    paths = [[u for u in trial.units if u not in order[:count]] for count in range(len(order) + 1)]
    # Single units that the ranking measured are networks too.
    candidates = [*laboratory.measure(paths, progress)]
    allowed = [c for c in candidates if budget.allows(c)]
    if not allowed:
        least = min(candidates, key=lambda c: c.size if budget.size is not None else c.damage.seen)
        raise GateError(
            f"No mixture of the {head.trial.component} is within the budget; the nearest has "
            f"{least.size / 1024:.0f} KiB and a damage of {least.damage.seen:.4f}. Allow more, or train with "
            "quantization: `pocketcrafter distill qat`."
        )
    chosen = min(
        allowed,
        key=lambda c: (*c.damage.order, c.size) if budget.size is not None else (c.size, *c.damage.order),
    )
    return SearchReport(
        head=head,
        budget=budget,
        candidates=tuple(sorted(candidates, key=lambda c: c.size)),
        front=pareto(candidates),
        chosen=chosen,
        dear=tuple(u for u in trial.units if u not in chosen.cheap),
    )


def pareto(candidates: Sequence[Measured]) -> tuple[Measured, ...]:
    """Return the networks that no other one beats in both size and damage, the smallest first."""
    front: list[Measured] = []
    for candidate in sorted(candidates, key=lambda c: (c.size, c.damage.order)):
        if not front or candidate.damage.order < front[-1].damage.order:
            front.append(candidate)
    return tuple(front)


def overlay(report: SearchReport, extends: Path | str) -> dict[str, Any]:
    """Return the recipe that builds the chosen network on top of another recipe."""
    trial = report.head.trial
    made: dict[str, Any] = {}
    facts: dict[str, Any] = {"extends": str(extends), "name": "searched"}
    if trial.component == Pocket.DECODER:
        # What has 2 bits runs on ONNX Runtime alone.
        facts["targets"] = [str(ONNX)]
        own = trial.dear_bits or max(trial.bits, 4)
        made = {"precision": {str(ONNX): f"w{own}"}}
        if trial.bits != own:
            made["weight_bits"] = dict.fromkeys(report.chosen.cheap, trial.bits)
    if report.dear and not (trial.component == Pocket.DECODER and trial.dear_bits):
        made["keep_fp32"] = list(report.dear)
    return {**facts, "components": {trial.component: made}}


def search_table(report: SearchReport) -> str:
    """Return the front as a Markdown table, the chosen network marked."""
    rows = [
        (
            f"{c.size / 1024:.1f}",
            str(len(c.cheap)),
            plain(c.damage.delta_e, 3),
            "–" if c.damage.disagreement is None else f"{c.damage.disagreement:.2%}",
            plain(c.damage.sqnr_db, 1),
            "chosen" if c == report.chosen else "",
        )
        for c in report.front
    ]
    return markdown(("weights KiB", "cheap units", "ΔE2000 mean", "tokens that differ", "SQNR dB", ""), rows)


def write_overlay(report: SearchReport, extends: Path, out: Path) -> None:
    """Write the recipe that builds the chosen network, as YAML, under a temporary name first.

    Parameters
    ----------
    report
        Of the search.
    extends
        The recipe that the written one extends.
    out
        Where to, ``.yaml``.
    """
    import yaml  # noqa: PLC0415 - the build's own

    shipped = extends.resolve() == DEFAULT_RECIPE.resolve()
    text = yaml.safe_dump(overlay(report, extends.name if shipped else extends.resolve()), sort_keys=False)
    write_text(out, text)
