"""One entry to the package's quantization: a model, a scheme and calibration data in, the quantized model out."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final, overload

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.hessians import Hessians
from pocketcrafter.quantize.algorithms.rounding import round_linears
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import (
    CompressedWeights,
    DynamicInt8,
    QuantizationConfig,
    StaticInt8,
    StaticInt16,
    WeightOnly,
)
from pocketcrafter.quantize.onnx import dynamic as onnx_dynamic
from pocketcrafter.quantize.onnx.matmul_nbits import quantize_matmul_nbits
from pocketcrafter.quantize.onnx.qdq import quantize_qdq
from pocketcrafter.quantize.onnx.qdq_int16 import quantize_qdq_int16
from pocketcrafter.quantize.torch import dynamic as torch_dynamic
from pocketcrafter.quantize.torch.compressed_weights import compress_weights
from pocketcrafter.quantize.torch.pt2e import quantize_static
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.progress import Progress

"""Called with calibration samples done and samples in all."""

NO_CALIBRATION: Final = Calibration()

# The last argument of a handler is the progress callback; schemes without activation ranges have nothing to report.
_Handler = Callable[[Any, Any, Calibration, Progress | None], Any]


@overload
def quantize(
    model: nn.Module,
    config: QuantizationConfig,
    calibration: Calibration = NO_CALIBRATION,
    progress: Progress | None = None,
) -> nn.Module: ...


@overload
def quantize(
    model: onnx.ModelProto,
    config: QuantizationConfig,
    calibration: Calibration = NO_CALIBRATION,
    progress: Progress | None = None,
) -> onnx.ModelProto: ...


def quantize(
    model: nn.Module | onnx.ModelProto,
    config: QuantizationConfig,
    calibration: Calibration = NO_CALIBRATION,
    progress: Progress | None = None,
) -> nn.Module | onnx.ModelProto:
    """Quantize a model by a scheme.

    Parameters
    ----------
    model
        A torch module in evaluation mode, without BatchNorm, or an ONNX model with static shapes that
        ``torch.onnx.export(..., dynamo=True)`` wrote; not modified.
    config
        The scheme. Torch modules take `StaticInt8` and `DynamicInt8` (as XNNPACK computes them), `WeightOnly` and
        `CompressedWeights` (as Core ML stores them); ONNX models take `StaticInt8`, `StaticInt16`, `DynamicInt8` and
        `WeightOnly`.
    calibration
        Samples for static schemes, Hessians for GPTQ.
    progress
        Called with calibration samples done and samples in all, by static schemes.

    Returns
    -------
    torch.nn.Module or onnx.ModelProto
        A torch module computes in float32 with every rounding simulated, ready for export to its toolchain. An ONNX
        model has quantized weights and operators.

    Raises
    ------
    ConfigError
        If the kind of model has no such scheme, a static scheme gets no sample, nothing is left to quantize, or a name
        in the scheme is not a module.
    GateError
        If preparing a torch module for static quantization already changes what it computes.

    Examples
    --------
    >>> int4 = WeightOnly(bits=4, group_size=64, rounding=Gptq(damping=0.05))
    >>> quantize(onnx.load("decoder.onnx"), int4, Calibration(hessians=hessians))
    >>> int8 = StaticInt8(range=Percentile(percent=99.99))
    >>> quantize(tone_network, int8, Calibration(samples))
    """
    for kind, handlers in _HANDLERS.items():
        if isinstance(model, kind) and type(config) in handlers:
            return handlers[type(config)](model, config, calibration, progress)
    takes = " or ".join(kind.__name__ for kind, handlers in _HANDLERS.items() if type(config) in handlers)
    raise ConfigError(f"{type(config).__name__} quantizes {takes or 'nothing'}; it was given {type(model).__name__}.")


def with_rounded_weights(model: nn.Module, scheme: WeightOnly, hessians: Hessians) -> nn.Module:
    """Return a copy of a module whose linear layers have dequantized weights.

    Parameters
    ----------
    model
        Not modified.
    scheme
        Bits, group size and rounding, and modules that keep their weights.
    hessians
        Of the layers that GPTQ rounds, by their qualified names; other layers are rounded to nearest.

    Raises
    ------
    ConfigError
        As `round_linears`: if no layer is left to quantize, or a name in the scheme is no module.
    """
    made = copy.deepcopy(model)
    for name, blocks in round_linears(model, scheme, hessians).items():
        made.get_submodule(name).weight = nn.Parameter(blocks.weight(), requires_grad=False)
    return made


def _in_calling_order(samples: Mapping[str, FloatArray]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in samples.values())


def _torch_static(
    model: nn.Module, config: StaticInt8, calibration: Calibration, progress: Progress | None
) -> nn.Module:
    return quantize_static(model, [_in_calling_order(s) for s in calibration.samples], config, progress)


_HANDLERS: Final[Mapping[type, Mapping[type[QuantizationConfig], _Handler]]] = {
    nn.Module: {
        StaticInt8: _torch_static,
        DynamicInt8: lambda m, c, data, _: torch_dynamic.quantize_dynamic_int8(m, c, data.hessians),
        WeightOnly: lambda m, c, data, _: with_rounded_weights(m, c, data.hessians),
        CompressedWeights: lambda m, c, _data, _: compress_weights(m, c),
    },
    onnx.ModelProto: {
        StaticInt8: quantize_qdq,
        StaticInt16: quantize_qdq_int16,
        DynamicInt8: lambda m, c, _data, _: onnx_dynamic.quantize_dynamic_int8(m, c),
        WeightOnly: lambda m, c, data, _: quantize_matmul_nbits(m, c, data.hessians),
    },
}
