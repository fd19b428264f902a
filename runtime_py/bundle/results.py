"""What the build measured and the manifest records: precision, fidelity, coverage and the parity ladder's rungs."""

import math
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from pocketcrafter.runtime.arrays import AnyFloatArray
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.fidelity import cosine, max_abs_error, psnr_db, sqnr_db


class Precision(StrEnum):
    """The numbers a component computes with on one target."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    A16W8 = "a16w8"
    """INT8 weights, 16-bit activations."""
    A16W4 = "a16w4"
    """INT4 weights, 16-bit activations."""
    W8 = "w8"
    """INT8 weights in blocks, float activations."""
    W4 = "w4"
    """INT4 weights in blocks, float activations."""
    W8A8_DYNAMIC = "w8a8-dynamic"
    """INT8 weights, INT8 activations whose range is measured as they come."""
    A8W4_DYNAMIC = "8da4w"
    """INT4 weights in groups, INT8 activations whose range is measured as they come."""
    PALETTE6 = "palette6"
    """Weights of 64 values for each group of channels, float16 activations."""
    PALETTE4 = "palette4"
    """Weights of 16 values for each group of channels, float16 activations."""


class Fidelity(Config):
    """How close one output of an artifact is to its reference."""

    output: str = Field(min_length=1, max_length=64, description="Name of the output tensor.")
    sqnr_db: float | None = Field(
        description="Signal-to-quantization-noise ratio in dB; null where the two are identical."
    )
    cosine: float = Field(ge=-1, le=1, description="Cosine similarity.")
    max_abs_error: float = Field(ge=0, description="Largest absolute difference, in the output's unit.")
    psnr_db: float | None = Field(None, description="Peak ratio in dB; null for no picture, and where identical.")

    @classmethod
    def between(
        cls, output: str, reference: AnyFloatArray, actual: AnyFloatArray, data_range: float | None = None
    ) -> Self:
        """Compare two arrays of one shape; ``data_range`` (1 for pictures in [0, 1]) adds the peak ratio.

        Raises
        ------
        ShapeMismatchError
            If the shapes differ.
        GateError
            If a value is not finite.
        """
        ratio = sqnr_db(reference, actual)
        return cls(
            output=output,
            # An all-zero reference has no ratio: the lowest float stands for "nothing alike", as JSON has no infinity.
            sqnr_db=None if ratio == math.inf else max(ratio, -1e3),
            cosine=cosine(reference, actual),
            max_abs_error=max_abs_error(reference, actual),
            psnr_db=None if data_range is None or ratio == math.inf else psnr_db(reference, actual, data_range),
        )

    def reaches(self, gate_db: float) -> bool:
        """Whether the ratio is at least ``gate_db``; identical tensors reach every gate."""
        return self.sqnr_db is None or self.sqnr_db >= gate_db


class Fallback(Config):
    """An operator that runs outside the accelerated backend."""

    op: str = Field(min_length=1, max_length=200, description="Operator name, as the toolchain spells it.")
    count: int = Field(ge=1, description="How many times it occurs.")
    reason: str = Field(max_length=500, description="Why it is not delegated.")
    allowed: bool = Field(description="Whether the recipe allows it.")


class Coverage(Config):
    """How much of a component the accelerated backend computes."""

    macs_total: int = Field(ge=0, description="Multiply-accumulates of the whole graph.")
    macs_delegated: int = Field(ge=0, description="Multiply-accumulates inside delegated subgraphs.")
    delegated_ops: int = Field(ge=0, description="Operators inside delegated subgraphs.")
    subgraphs: int = Field(ge=0, description="Delegated subgraphs; each boundary costs a copy.")
    fallbacks: tuple[Fallback, ...] = Field((), description="Operators left outside, by name.")

    @model_validator(mode="after")
    def _part_of_the_whole(self) -> Self:
        if self.macs_delegated > self.macs_total:
            raise ValueError(f"{self.macs_delegated} delegated MACs are more than all {self.macs_total}")
        return self

    @property
    def share(self) -> float:
        """The delegated share of the multiply-accumulates, in [0, 1]; 1 for a graph that has none."""
        return self.macs_delegated / self.macs_total if self.macs_total else 1.0


class LadderGates(Config):
    """What the rungs that look at whole photos must reach: rung 0 (student) and rung 3 (end to end)."""

    student_psnr_db: float = Field(0.5, ge=0, description="Rung 0: most dB that the student may be behind its studio.")
    student_delta_e: float = Field(0.5, ge=0, description="Rung 0: most mean CIEDE2000 that it may be behind.")
    delta_e_mean: float = Field(1.0, ge=0, description="Rung 3: highest mean CIEDE2000 over photos.")
    delta_e_worst: float = Field(3.0, ge=0, description="Rung 3: highest mean CIEDE2000 of any one photo.")
    plan_error: float = Field(0.02, ge=0, description="Rung 3: highest mean error of the gated plan, in vector units.")
    tokens: float = Field(0.99, ge=0, le=1, description="Rung 3: lowest share of greedy choices that agree.")


class Figure(Config):
    """One figure of a rung that compares more than tensors, beside the bound that it must keep."""

    name: str = Field(min_length=1, max_length=64, description="What it is, with its unit.")
    value: float
    minimum: float | None = Field(None, description="Lowest value that passes; null where any will do.")
    maximum: float | None = Field(None, description="Highest value that passes; null where any will do.")

    @property
    def passed(self) -> bool:
        """Whether the value keeps its bounds."""
        low, high = self.minimum, self.maximum
        return (low is None or self.value >= low) and (high is None or self.value <= high)

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3g}"


class RungResult(Config):
    """One rung of the parity ladder: what was compared, how, and whether it passed."""

    rung: int = Field(ge=0, le=4, description="0 student, 1 fake-quantized, 2 host artifact, 3 end to end, 4 device.")
    passed: bool | None = Field(description="Null where the rung was not run.")
    how: str = Field(min_length=1, max_length=500, description="What was compared with what, by which engine.")
    gate: str = Field(max_length=200, description="The gate in words, as in `SQNR >= 40 dB`.")
    fidelity: tuple[Fidelity, ...] = Field((), description="One entry per output.")
    figures: tuple[Figure, ...] = Field((), max_length=16, description="What was measured on whole photos.")
