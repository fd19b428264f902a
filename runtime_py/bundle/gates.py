"""Gates: what a measured figure must reach, and the one judge that holds figures against them.

A gate is data from the recipe to the manifest and the reports; sentences are made from it and never read back.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from pydantic import Field, model_validator

from pocketcrafter.runtime.config import Config


class Metric(StrEnum):
    """What is measured; its unit is in its name where it has one."""

    SQNR_DB = "sqnr-db"
    """Signal-to-quantization-noise ratio of one output tensor."""
    PSNR_DB = "psnr-db"
    """Peak signal-to-noise ratio of a picture in [0, 1]."""
    SSIM = "ssim"
    """Structural similarity of a picture, at most 1."""
    DELTA_E = "delta-e"
    """Mean CIEDE2000 of one picture."""
    MAC_COVERAGE = "mac-coverage"
    """Share of the multiply-accumulates that the accelerated backend computes, in [0, 1]."""
    DELTA_E_MEAN = "delta-e-mean"
    """Mean CIEDE2000 over whole photos."""
    DELTA_E_WORST = "delta-e-worst"
    """Mean CIEDE2000 of the worst of several whole photos."""
    PLAN_ERROR = "plan-error"
    """Mean absolute error of the edit plan, in vector units."""
    TOKEN_AGREEMENT = "token-agreement"  # noqa: S105 - a metric, not a secret
    """Share of greedy choices of the language model that agree, in [0, 1]."""
    PSNR_LOSS_DB = "psnr-loss-db"
    """How far a student's PSNR is below its teacher's."""
    SSIM_LOSS = "ssim-loss"
    """How far a student's SSIM is below its teacher's."""
    DELTA_E_LOSS = "delta-e-loss"
    """How far a student's CIEDE2000 is above its teacher's."""
    PLAN_ERROR_LOSS = "plan-error-loss"
    """How far a student's plan error is above its teacher's."""


def _decibels(value: float) -> str:
    return f"{value:.4g} dB"


def _share(value: float) -> str:
    return f"{100 * value:.4g}%"


def _plain(value: float) -> str:
    return f"{value:.3g}"


_SHOWN: Final[Mapping[Metric, tuple[str, Callable[[float], str]]]] = {
    Metric.SQNR_DB: ("SQNR", _decibels),
    Metric.PSNR_DB: ("PSNR", _decibels),
    Metric.SSIM: ("SSIM", _plain),
    Metric.DELTA_E: ("ΔE2000", _plain),
    Metric.MAC_COVERAGE: ("delegated MACs", _share),
    Metric.DELTA_E_MEAN: ("ΔE2000 mean", _plain),
    Metric.DELTA_E_WORST: ("ΔE2000 worst", _plain),
    Metric.PLAN_ERROR: ("plan error", _plain),
    Metric.TOKEN_AGREEMENT: ("equal greedy tokens", _share),
    Metric.PSNR_LOSS_DB: ("PSNR lost", _decibels),
    Metric.SSIM_LOSS: ("SSIM lost", _plain),
    Metric.DELTA_E_LOSS: ("ΔE2000 added", _plain),
    Metric.PLAN_ERROR_LOSS: ("plan error added", _plain),
}
"""Each metric's label, and how its values are written."""


class Figure(Config):
    """One measured value."""

    metric: Metric
    value: float | None = Field(description="Null where it is perfect and has no number: the ratio of equal tensors.")
    of: str = Field("", max_length=130, description="Which of several it is of, as an output's name.")

    def __str__(self) -> str:
        label, written = _SHOWN[self.metric]
        value = "identical" if self.value is None else written(self.value)
        return f"{label} {value}" if not self.of else f"{label} of `{self.of}` {value}"


class Gate(Config):
    """The bound that every figure of one metric must keep."""

    metric: Metric
    minimum: float | None = Field(None, description="Lowest value that passes; null where the gate is a maximum.")
    maximum: float | None = Field(None, description="Highest value that passes; null where the gate is a minimum.")

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError(f"a gate of {self.metric} has either a minimum or a maximum")
        return self

    def passes(self, figure: Figure) -> bool:
        """Whether a figure of this gate's metric keeps the bound; a perfect one keeps every bound."""
        if figure.value is None:
            return True
        low, high = self.minimum, self.maximum
        return (low is None or figure.value >= low) and (high is None or figure.value <= high)

    def __str__(self) -> str:
        label, written = _SHOWN[self.metric]
        if self.minimum is not None:
            return f"{label} >= {written(self.minimum)}"
        return "" if self.maximum is None else f"{label} <= {written(self.maximum)}"


@dataclass(frozen=True)
class Verdict:
    """What the judge found."""

    gate: Gate
    judged: int
    """How many figures there were of the gate's metric."""
    missed: tuple[Figure, ...]
    """Those that do not keep the bound."""

    @property
    def passed(self) -> bool | None:
        """Whether every figure keeps the bound; `None` where nothing was measured."""
        return not self.missed if self.judged else None

    def __str__(self) -> str:
        if not self.judged:
            return f"nothing was measured, the gate is {self.gate}"
        return f"{', '.join(map(str, self.missed)) or 'passed'}, the gate is {self.gate}"


def judge(measured: Iterable[Figure], gate: Gate) -> Verdict:
    """Hold measured figures against a gate.

    Parameters
    ----------
    measured
        Figures of any metric; those of others than the gate's say nothing of it.
    gate
        The bound.

    Returns
    -------
    Verdict
        Passed, missed, or, where there is no figure of the metric, neither.
    """
    figures = [figure for figure in measured if figure.metric is gate.metric]
    return Verdict(gate, len(figures), tuple(figure for figure in figures if not gate.passes(figure)))


def all_passed(verdicts: Iterable[Verdict]) -> bool | None:
    """Whether no gate was missed and at least one was judged; `None` where none was judged."""
    known = [verdict.passed for verdict in verdicts if verdict.passed is not None]
    return all(known) if known else None
