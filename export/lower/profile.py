"""What a target's toolchain takes: its precisions, why it lacks others, its tools and what lowering for it costs.

A profile is data. Recipes are validated and builds are planned with it, so it imports no toolchain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pocketcrafter.quantize.config import QuantizationConfig, StaticInt8, StaticInt16
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import TargetKind

FLOATS: Final = (Precision.FP32, Precision.FP16)
SIXTEEN_BITS: Final = (Precision.A16W8, Precision.A16W4)
DYNAMIC: Final = (Precision.W8A8_DYNAMIC, Precision.A8W4_DYNAMIC)
WEIGHTS_ALONE: Final = (Precision.W8, Precision.W4)
PALETTES: Final = (Precision.PALETTE6, Precision.PALETTE4)


@dataclass(frozen=True)
class Scheme:
    """How a precision is quantized, and what of it a recipe may change.

    Attributes
    ----------
    config
        The scheme, where a recipe says no more.
    tunable
        Names of `QuantizationOptions` that the lowering honors.
    mixed
        Whether single modules may have weights of other bits.
    """

    config: QuantizationConfig
    tunable: tuple[str, ...] = ()
    mixed: bool = False


@dataclass(frozen=True)
class Profile:
    """How artifacts are made for a target.

    Attributes
    ----------
    precisions
        What it has, in the order in which people are told.
    refusals
        Why it lacks a precision; every one that is not in ``precisions`` has a reason.
    tools
        Distributions whose versions its artifacts depend on.
    native_float
        The floating-point precision that the target's own processor computes in; foreign networks come in it.
    fp32_runs_on
        The target whose artifact the phone's CPU runs where float32 is asked for; `None` where the target has float32.
    compiled_from
        The target whose artifact its compiler reads, which is then quantized once for all targets of the family.
    together
        Whether the targets of its family are lowered at once, because they differ in the compiler's last steps alone.
    schemes
        How each of its quantized precisions is quantized by `pocketcrafter.quantize.api.quantize`.
    decomposed
        Whether foreign networks are written in plain operators first, because the toolchain leaves fused ones outside.
    functions
        Precisions in which its artifacts can have further functions on the same weights, as a language model's
        `prefill`.
    lower_seconds, prove_seconds
        What lowering and proving take on a core with AVX512, for a network of about three million parameters.
    """

    precisions: tuple[Precision, ...]
    refusals: Mapping[Precision, str]
    tools: tuple[str, ...]
    native_float: Precision = Precision.FP16
    fp32_runs_on: TargetKind | None = None
    compiled_from: TargetKind | None = None
    together: bool = False
    schemes: Mapping[Precision, Scheme] = field(default_factory=dict)
    decomposed: bool = False
    functions: tuple[Precision, ...] = ()
    lower_seconds: float = 20.0
    prove_seconds: float = 3.0

    def rewrites(self, precision: Precision) -> bool:
        """Whether a foreign network is written in plain operators first, to be lowered in a precision.

        It is not where linear layers are quantized one by one: rewritten, a network has no modules left.
        """
        return self.decomposed and precision not in {*WEIGHTS_ALONE, *DYNAMIC}

    def rewrites_norms(self, precision: Precision) -> bool:
        """Whether of such a network the layer normalizations alone are written in plain operators."""
        return self.decomposed and not self.rewrites(precision)


def because(*reasons: tuple[Iterable[Precision], str]) -> dict[Precision, str]:
    """Return the refusals of a profile: each reason under every precision that it is given for."""
    return {precision: reason for precisions, reason in reasons for precision in precisions}


NO_PALETTES: Final = (PALETTES, "only Core ML keeps palettes")
NO_SIXTEEN_BITS: Final = "has no 16-bit integers"

GROUPED: Final = ("group_size", "rounding")
"""What recipes may change of integer weights in groups."""

QDQ_SCHEMES: Final[Mapping[Precision, Scheme]] = {
    Precision.INT8: Scheme(StaticInt8(), ("range",)),
    Precision.A16W8: Scheme(StaticInt16(weight_bits=8), ("headroom",)),
    Precision.A16W4: Scheme(StaticInt16(weight_bits=4), ("headroom",)),
}
"""Schemes of ONNX models with QDQ pairs, as ONNX Runtime runs and QNN compiles them."""
