"""What the build measured and the manifest records: precision, fidelity, coverage and the parity ladder's rungs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from pocketcrafter.runtime.arrays import AnyFloatArray
from pocketcrafter.runtime.bundle.gates import Figure, Gate, Metric, Verdict, all_passed, judge
from pocketcrafter.runtime.components import TensorSpec
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

    @property
    def quantized(self) -> bool:
        """Whether weights or activations are rounded to fewer values than a float type has."""
        return self not in {Precision.FP32, Precision.FP16}


class Fidelity(Config):
    """How close one output of an artifact is to its reference."""

    output: str = Field(
        min_length=1,
        max_length=130,
        description="Name of the output; `<function>.<name>` of a further function.",
    )
    sqnr_db: float | None = Field(
        description="Signal-to-quantization-noise ratio in dB; null where the two are identical. Of an output that "
        "mends an input, the signal is what it changes."
    )
    cosine: float = Field(ge=-1, le=1, description="Cosine similarity; likewise of the changes.")
    max_abs_error: float = Field(ge=0, description="Largest absolute difference, in the output's unit.")
    psnr_db: float | None = Field(None, description="Peak ratio in dB; null for no picture, and where identical.")

    @classmethod
    def between(
        cls,
        output: str,
        reference: AnyFloatArray,
        actual: AnyFloatArray,
        data_range: float | None = None,
        mended: AnyFloatArray | None = None,
    ) -> Self:
        """Compare two arrays of one shape; ``data_range`` (1 for pictures in [0, 1]) adds the peak ratio.

        Parameters
        ----------
        output
            The output's name.
        reference, actual
            Arrays of one shape, any floating dtype.
        data_range
            Largest possible difference of two values (1 for pictures in [0, 1]), for the peak ratio; none without it.
        mended
            The input that the output is a changed copy of (`TensorSpec.mends`), of their shape: the changes are
            compared. None for any other output.

        Raises
        ------
        ShapeMismatchError
            If the shapes differ.
        GateError
            If a value is not finite.
        """
        signal, found = reference, actual
        if mended is not None:
            signal, found = (array.astype(np.float64) - mended for array in (reference, actual))
        ratio = sqnr_db(signal, found)
        return cls(
            output=output,
            # An all-zero reference has no ratio: the lowest float stands for "nothing alike", as JSON has no infinity.
            sqnr_db=None if ratio == math.inf else max(ratio, -1e3),
            cosine=cosine(signal, found),
            max_abs_error=max_abs_error(reference, actual),
            psnr_db=None if data_range is None or ratio == math.inf else psnr_db(reference, actual, data_range),
        )

    @classmethod
    def of(
        cls,
        output: TensorSpec,
        inputs: Mapping[str, AnyFloatArray],
        reference: AnyFloatArray,
        actual: AnyFloatArray,
        data_range: float | None = None,
    ) -> Self:
        """Compare an output as its contract asks: itself, or what it changes of the input that it mends.

        Parameters
        ----------
        output
            The contract.
        inputs
            What both were made from, by name.
        reference, actual, data_range
            As for :meth:`between`, which says what is raised.
        """
        mended = None if output.mends is None else inputs[output.mends]
        return cls.between(output.name, reference, actual, data_range, mended)

    def reaches(self, least_db: float) -> bool:
        """Whether the ratio is at least ``least_db``; identical tensors reach every ratio."""
        return sqnr_gate(least_db).passes(self.figure)

    @property
    def figure(self) -> Figure:
        """The signal-to-quantization-noise ratio, as it is judged."""
        return Figure(metric=Metric.SQNR_DB, value=self.sqnr_db, of=self.output)


def sqnr_gate(minimum_db: float) -> Gate:
    """Return the gate of an output's signal-to-quantization-noise ratio."""
    return Gate(metric=Metric.SQNR_DB, minimum=minimum_db)


def figures_of(fidelity: Iterable[Fidelity]) -> tuple[Figure, ...]:
    """Return what is judged of compared outputs: the ratio of each, and the peak ratio of those that are pictures."""
    found = []
    for compared in fidelity:
        found.append(compared.figure)
        if compared.psnr_db is not None:
            found.append(Figure(metric=Metric.PSNR_DB, value=compared.psnr_db, of=compared.output))
    return tuple(found)


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

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The delegated share, as it is judged; nothing where no multiply-accumulates were counted."""
        return (Figure(metric=Metric.MAC_COVERAGE, value=self.share),) if self.macs_total else ()


RungNumber = Annotated[
    int, Field(ge=0, le=4, description="0 student, 1 fake-quantized, 2 host artifact, 3 end to end, 4 device.")
]


class Rung(Config):
    """One rung of the parity ladder: what was compared, how, and whether it keeps its gates."""

    rung: RungNumber
    passed: bool | None = Field(description="Null where the rung was not run, or proves nothing.")
    how: str = Field(min_length=1, max_length=500, description="What was compared with what, by which engine.")
    gates: tuple[Gate, ...] = Field((), max_length=16, description="What its figures must keep.")
    fidelity: tuple[Fidelity, ...] = Field((), description="One entry per output.")
    figures: tuple[Figure, ...] = Field((), max_length=16, description="What was measured on whole photos.")

    @model_validator(mode="after")
    def _no_pass_against_its_figures(self) -> Self:
        if self.passed and (missed := [str(v) for v in self.verdicts if v.passed is False]):
            raise ValueError(f"rung {self.rung} says passed, but: {'; '.join(missed)}")
        return self

    @classmethod
    def judged(
        cls,
        rung: int,
        how: str,
        gates: Sequence[Gate],
        *,
        fidelity: Sequence[Fidelity] = (),
        figures: Sequence[Figure] = (),
    ) -> Self:
        """Return a rung that was run: it passes where no gate is missed and at least one was judged.

        Parameters
        ----------
        rung
            Number on the ladder, 0 to 4.
        how
            What was compared with what, in words.
        gates
            What the figures must reach.
        fidelity
            How near each output is to its reference.
        figures
            Further figures that gates may name.
        """
        made = cls(
            rung=rung, passed=None, how=how, gates=tuple(gates), fidelity=tuple(fidelity), figures=tuple(figures)
        )
        return made.model_copy(update={"passed": all_passed(made.verdicts)})

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What the judge says of each gate."""
        measured = (*self.figures, *figures_of(self.fidelity))
        return tuple(judge(measured, gate) for gate in self.gates)

    @property
    def gate_text(self) -> str:
        """Its gates in words."""
        return "; ".join(map(str, self.gates))
