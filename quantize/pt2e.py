"""Static INT8 quantization of torch models for XNNPACK, through PT2E: per-channel weights, per-tensor activations."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    QuantizationConfig,
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import MinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from pocketcrafter.runtime.errors import ConfigError, GateError
from pocketcrafter.runtime.fidelity import sqnr_db

PREPARED_GATE_DB: Final = 100.0
"""Observers only watch: the prepared model must be the eager one up to float rounding."""

_aten = torch.ops.aten
_WEIGHTED: Final = frozenset({_aten.conv2d.default, _aten.linear.default, _aten.conv_transpose2d.input})
_JOINING: Final = frozenset({_aten.add.Tensor, _aten.mul.Tensor})
_PASSING: Final = frozenset(
    {
        _aten.relu.default,
        _aten.relu6.default,
        _aten.hardtanh.default,
        _aten.hardswish.default,
        _aten.clamp.default,
        _aten.reshape.default,
        _aten.view.default,
        _aten.flatten.using_ints,
        _aten.pixel_shuffle.default,
        _aten.pixel_unshuffle.default,
        _aten.max_pool2d.default,
        _aten.slice.Tensor,
    }
)
"""What may stand between an INT8 convolution and an addition or multiplication that is INT8 as well."""


def quantize_static(
    model: nn.Module,
    calibration: Sequence[tuple[Tensor, ...]],
    *,
    keep_fp32: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> GraphModule:
    """Quantize weights and activations to INT8.

    Convolutions and linear layers become INT8, and so do additions and multiplications whose operands all come from
    INT8 layers (residuals inside the network, FiLM). Anything else stays float32: statistics, activations, and a
    residual whose operand is an input, such as the picture that a restoration network adds its correction to.

    Parameters
    ----------
    model
        In evaluation mode, without BatchNorm (see :func:`~pocketcrafter.quantize.folding.fold_batchnorm`); left as it
        is.
    calibration
        At least one tuple of float32 inputs, in calling order; shapes are static.
    keep_fp32
        Qualified names of modules that stay float32 with everything below them, as in ``("statistics", "head")``.
    progress
        Called with samples done and samples in all.

    Returns
    -------
    torch.fx.GraphModule
        Computes in float32 with quantize/dequantize pairs: the fake-quantized model, ready for export and lowering.

    Raises
    ------
    ConfigError
        If there is no calibration sample, or a name in ``keep_fp32`` is not a module.
    GateError
        If the prepared model, before any quantization, is not the eager model.
    """
    if not calibration:
        raise ConfigError("Static quantization needs calibration samples: give at least one (32 are usual).")
    known = {name for name, _ in model.named_modules()} - {""}
    if unknown := [name for name in keep_fp32 if name not in known]:
        raise ConfigError(f"keep_fp32 names no module of {type(model).__name__}: {', '.join(unknown)}.")
    quantizer = XNNPACKQuantizer()
    quantizer.set_global(_scheme())
    quantizer.set_filter_function(lambda node: _becomes_int8(node, keep_fp32))
    with torch.no_grad():
        program = torch.export.export(model, tuple(calibration[0]))
        prepared = prepare_pt2e(program.module(), quantizer)
        _assert_unchanged(model, prepared, calibration[0])
        for done, sample in enumerate(calibration, start=1):
            prepared(*sample)
            if progress is not None:
                progress(done, len(calibration))
        converted: GraphModule = convert_pt2e(prepared)
    return converted


def _assert_unchanged(model: nn.Module, prepared: GraphModule, sample: tuple[Tensor, ...]) -> None:
    """Refuse a preparation that already broke the model: PT2E folds BatchNorm under a residual's feet, silently."""
    for index, (eager, now) in enumerate(zip(outputs_of(model(*sample)), outputs_of(prepared(*sample)), strict=True)):
        ratio = sqnr_db(eager.numpy(), now.numpy())
        if ratio < PREPARED_GATE_DB:
            raise GateError(
                f"{type(model).__name__}, output {index}: prepared for quantization, it is {ratio:.1f} dB from "
                f"the eager one, before anything is quantized (needed: {PREPARED_GATE_DB:.0f} dB). PT2E folds BatchNorm "
                "wrongly where a convolution's output has a second reader: call `fold_batchnorm` first."
            )


def outputs_of(result: Any) -> tuple[Tensor, ...]:  # noqa: ANN401 - whatever a forward returns
    """Return a forward's result, a tensor or a (named) tuple or list of tensors, as a tuple."""
    return (result,) if isinstance(result, Tensor) else tuple(result)


def _scheme() -> QuantizationConfig:
    """XNNPACK's symmetric per-channel scheme, whose activation ranges are the extremes that calibration saw."""
    symmetric = get_symmetric_quantization_config(is_per_channel=True)
    observer = MinMaxObserver.with_args(eps=2**-12)
    activation = replace(symmetric.input_activation, observer_or_fake_quant_ctr=observer)
    return replace(symmetric, input_activation=activation, output_activation=activation)


def _becomes_int8(node: Node, keep_fp32: tuple[str, ...]) -> bool:
    if _inside(node, keep_fp32):
        return False
    if node.target in _WEIGHTED:
        return True
    return node.target in _JOINING and all(_from_int8(operand, keep_fp32) for operand in node.args[:2])


def _from_int8(operand: object, keep_fp32: tuple[str, ...]) -> bool:
    while isinstance(operand, Node) and operand.target in _PASSING:
        operand = operand.args[0]
    return isinstance(operand, Node) and _becomes_int8(operand, keep_fp32)


def _inside(node: Node, modules: tuple[str, ...]) -> bool:
    names = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
    return any(name == module or name.startswith(f"{module}.") for name in names for module in modules)
