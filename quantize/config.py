"""Quantization schemes as data: what recipes state and :func:`pocketcrafter.quantize.api.quantize` takes.

No toolchain is imported here. What each target can do with a scheme is decided where it is lowered.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from pocketcrafter.runtime.config import Config

INT16_HEADROOM: Final = 2.0
"""How far 16-bit ranges extend beyond the values that calibration saw; it costs one of the 16 bits.

A value outside its range is clipped, and a decoder meets such values in every text longer than the calibration texts.
"""


class MinMax(Config):
    """The range from the smallest to the largest value that calibration saw: nothing is clipped."""

    method: Literal["min-max"] = "min-max"


class Percentile(Config):
    """The range between two percentiles of each calibration sample, united over all samples.

    Percentiles of each sample, not of all samples together, so that one unusual sample is not clipped for the sake of
    the usual ones.
    """

    method: Literal["percentile"] = "percentile"
    percent: float = Field(
        99.9, gt=50, lt=100, description="The upper percentile; 99.9 clips a thousandth of the values at each end."
    )


class Mse(Config):
    """The range with the smallest mean squared quantization error."""

    method: Literal["mse"] = "mse"


class Entropy(Config):
    """The range that loses the least information: KL divergence between histograms (Migacz, GTC 2017)."""

    method: Literal["entropy"] = "entropy"


ActivationRange = Annotated[MinMax | Percentile | Mse | Entropy, Field(discriminator="method")]
"""How the range of an activation is chosen from calibration data."""


class Nearest(Config):
    """Every weight goes to the nearest level."""

    method: Literal["nearest"] = "nearest"


class Gptq(Config):
    """Weights are rounded one column after another, and the rest of the matrix compensates for each error (GPTQ).

    A layer without a Hessian, because calibration never ran it or it has more than 4096 inputs, is rounded to nearest.
    """

    method: Literal["gptq"] = "gptq"
    damping: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of the mean Hessian diagonal added to the diagonal; less overfits small calibration sets.",
    )


Rounding = Annotated[Nearest | Gptq, Field(discriminator="method")]
"""How weights become integer levels."""

BitWidth = Literal[2, 4, 8]
"""Bits of an integer weight."""
GroupSize = Literal[16, 32, 64, 128, 256]
"""Inputs that share a scale."""


class QuantizationOptions(Config):
    """What a recipe changes of the scheme that a precision stands for; what it leaves out keeps its default."""

    range: ActivationRange | None = Field(None, description="Range method of INT8 activations.")
    headroom: float | None = Field(None, ge=1, le=16, description="Factor on the ranges of 16-bit activations.")
    group_size: GroupSize | None = Field(None, description="Inputs that share a scale of an integer weight.")
    rounding: Rounding | None = Field(None, description="How weights become integer levels.")
    activation_bits: Literal[8, 16] | None = Field(None, description="Bits of the activations of integer products.")

    @property
    def given(self) -> dict[str, object]:
        """What is changed, by name."""
        return {name: value for name, value in self if value is not None}

    def __str__(self) -> str:
        """State what is changed, as in ``group_size 64, rounding gptq (damping 0.02)``; empty where nothing is."""
        return ", ".join(f"{name} {_stated(value)}" for name, value in self.given.items())


def _stated(value: object) -> str:
    if not isinstance(value, Config):
        return f"{value}"
    method, *parameters = (f"{item}" if name == "method" else f"{name} {item}" for name, item in value)
    return f"{method} ({', '.join(parameters)})" if parameters else method


DEFAULTS: Final = QuantizationOptions()


class QuantizationConfig(Config):
    """What all schemes have in common."""

    keep_fp32: tuple[str, ...] = Field(
        (), description="Qualified names of modules that are not quantized, with everything below them."
    )


class StaticInt8(QuantizationConfig):
    """INT8 weights and activations, all ranges fixed by calibration.

    Weights are symmetric with one scale per output channel; activations are asymmetric (scale and zero point), one pair
    per tensor.
    """

    range: ActivationRange = Field(
        Percentile(), description="Of activations; the model's inputs always range from minimum to maximum."
    )


class StaticInt16(QuantizationConfig):
    """Unsigned 16-bit activations per tensor, INT8 or INT4 weights per output channel: for Hexagon processors."""

    weight_bits: Literal[8, 4] = 8
    headroom: float = Field(
        INT16_HEADROOM, ge=1, le=16, description="Factor by which ranges exceed what calibration saw."
    )


class GroupedWeights(QuantizationConfig):
    """Integer weights of linear layers with one scale for each group of consecutive inputs; symmetric, no zero point.

    Layers whose number of inputs is no multiple of the group size stay float32.
    """

    bits: BitWidth = Field(description="Bits of a weight.")
    group_size: GroupSize = Field(32, description="Inputs that share a scale.")
    rounding: Rounding = Gptq()
    module_bits: Mapping[str, BitWidth] = Field(
        {}, description="Bits of single modules by their qualified names, with everything below them."
    )


class WeightOnly(GroupedWeights):
    """Weights are quantized, activations are floating point between layers.

    ONNX Runtime multiplies integers, to which it rounds a layer's input in the weights' groups.
    """

    activation_bits: Literal[8, 16] = Field(
        8, description="Of what is multiplied: 16 are two products of 8 bits, of the input and of what rounding left."
    )


class DynamicInt8(GroupedWeights):
    """INT8 activations whose ranges are measured at run time, one per row; integer weights.

    INT4 weights have one scale per group, INT8 weights one per output channel, rounded to nearest.
    """

    bits: Literal[8, 4] = 8
    group_size: Literal[32, 64, 128, 256] = Field(32, description="Inputs that share a scale, of INT4 weights.")
    module_bits: Mapping[str, Literal[8, 4]] = Field(
        {}, description="Bits of single modules by their qualified names, with everything below them."
    )


class WeightGrid(StrEnum):
    """The values that a compressed weight may have."""

    INT8 = "INT8"
    """Multiples of one scale per output channel."""
    INT4 = "INT4"
    """Multiples of one scale per group of inputs."""
    PALETTE6 = "6-bit palettes"
    """One of 64 values, listed for every 16 output channels."""
    PALETTE4 = "4-bit palettes"
    """One of 16 values, listed for every 16 output channels."""


class CompressedWeights(QuantizationConfig):
    """Weights of convolutions and linear layers stored on a grid of few values under float16 arithmetic (Core ML)."""

    grid: WeightGrid = WeightGrid.INT8
    group_size: GroupSize = Field(32, description="Inputs that share a scale, of INT4 weights.")
    grouped_palettes: bool = Field(
        True,
        description="Whether every 16 output channels have a palette of their own (iOS 18 and later), or a layer one.",
    )
    module_bits: Mapping[str, Literal[8, 4]] = Field(
        {}, description="Bits of single modules by their qualified names, with everything below them: INT8 or INT4."
    )
