"""Static INT8 quantization of torch models for XNNPACK, through PT2E: per-channel weights, per-tensor activations."""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.quantize.modules import check_modules, outputs_of
from pocketcrafter.quantize.torch.xnnpack import XnnpackQuantizer
from pocketcrafter.runtime.errors import ConfigError, GateError
from pocketcrafter.runtime.fidelity import sqnr_db

PREPARED_GATE_DB: Final = 100.0
"""Observers change no value: the prepared model must equal the eager one up to float rounding."""

_DEFAULT: Final = StaticInt8()


def quantize_static(
    model: nn.Module,
    calibration: Sequence[tuple[Tensor, ...]],
    scheme: StaticInt8 = _DEFAULT,
    progress: Callable[[int, int], None] | None = None,
) -> GraphModule:
    """Quantize weights and activations to INT8.

    Convolutions and linear layers become INT8, and so do additions and multiplications whose operands all come from
    INT8 layers (residuals inside the network, FiLM). Anything else stays float32: statistics, activations, and a
    residual whose operand is an input, such as the picture that a restoration network adds its correction to.

    Parameters
    ----------
    model
        In evaluation mode, without BatchNorm (see :func:`~pocketcrafter.quantize.torch.folding.fold_batchnorm`); not
        modified.
    calibration
        At least one tuple of float32 inputs, in calling order; shapes are static.
    scheme
        The range method, and modules that stay float32, as in ``("statistics", "head")``.
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
    check_modules(model, scheme.keep_fp32)
    with torch.no_grad():
        program = torch.export.export(model, tuple(calibration[0]))
        prepared = prepare_pt2e(program.module(), XnnpackQuantizer(scheme))
        assert_unchanged(model, prepared, calibration[0])
        for done, sample in enumerate(calibration, start=1):
            prepared(*sample)
            if progress is not None:
                progress(done, len(calibration))
        converted: GraphModule = convert_pt2e(prepared)
    return converted


def assert_unchanged(model: nn.Module, prepared: GraphModule, sample: tuple[Tensor, ...]) -> None:
    """Refuse a prepared model that computes something else: PT2E folds BatchNorm wrongly under a residual, silently.

    Parameters
    ----------
    model
        The eager model.
    prepared
        The same model with observers, nothing quantized yet.
    sample
        Inputs in calling order.

    Raises
    ------
    GateError
        If an output is less than `PREPARED_GATE_DB` from the eager model's.
    """
    for index, (eager, now) in enumerate(zip(outputs_of(model(*sample)), outputs_of(prepared(*sample)), strict=True)):
        ratio = sqnr_db(eager.numpy(), now.numpy())
        if ratio < PREPARED_GATE_DB:
            raise GateError(
                f"{type(model).__name__}, output {index}: prepared for quantization, it is {ratio:.1f} dB from the "
                f"eager model, before anything is quantized (needed: {PREPARED_GATE_DB:.0f} dB). PT2E folds BatchNorm "
                "wrongly where a convolution's output has a second reader: call `fold_batchnorm` first."
            )
