"""Static quantization of torch models for Hexagon processors (HTP), through PT2E and ExecuTorch's `QnnQuantizer`.

Import it only where QNN's environment variables are set: without them ExecuTorch's package downloads an SDK.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import torch
from executorch.backends.qualcomm.quantizer.quantizer import QnnQuantizer, QuantDtype
from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset, QnnExecuTorchBackendType
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torchao.quantization.pt2e import MinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from pocketcrafter.quantize.algorithms.ranges import with_margin
from pocketcrafter.quantize.config import INT16_HEADROOM
from pocketcrafter.quantize.torch.pt2e import assert_unchanged
from pocketcrafter.runtime.errors import ConfigError


class QnnScheme(StrEnum):
    """Bits of activations and weights; weights are symmetric, one scale for each output channel."""

    A8W8 = "8a8w"
    A16W8 = "16a8w"
    A16W4 = "16a4w"


_TYPES: Final[Mapping[QnnScheme, QuantDtype]] = {
    QnnScheme.A8W8: QuantDtype.use_8a8w,
    QnnScheme.A16W8: QuantDtype.use_16a8w,
    QnnScheme.A16W4: QuantDtype.use_16a4w,
}


class HeadroomObserver(MinMaxObserver):  # type: ignore[misc] # torchao is untyped
    """Takes the range from minimum to maximum, extended at both ends."""

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point."""
        low, high = with_margin(float(self.min_val), float(self.max_val), INT16_HEADROOM)
        scale, zero_point = self._calculate_qparams(torch.tensor(float(low)), torch.tensor(float(high)))
        return scale, zero_point


# ExecuTorch's own observer is a moving average with weight 0.01: with few samples the first one decides the range.
_OBSERVERS: Final = {
    QnnScheme.A8W8: MinMaxObserver,
    QnnScheme.A16W8: HeadroomObserver,
    QnnScheme.A16W4: HeadroomObserver,
}


def quantize_qnn(
    program: ExportedProgram,
    calibration: Sequence[tuple[Tensor, ...]],
    scheme: QnnScheme,
    soc: str,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> GraphModule:
    """Quantize every operator that the HTP computes in integers.

    Parameters
    ----------
    program
        The exported network, in evaluation mode.
    calibration
        At least one tuple of float32 inputs, in calling order; shapes are static.
    scheme
        What weights and activations become.
    soc
        The system-on-chip, as in ``SM8750``: what its processor takes differs.
    progress
        Called with samples done and samples in all.

    Returns
    -------
    torch.fx.GraphModule
        Computes in float32 with quantize/dequantize pairs: the fake-quantized model, ready for lowering.

    Raises
    ------
    ConfigError
        If there is no calibration sample.
    GateError
        If the prepared model, before any quantization, is not the model.
    """
    if not calibration:
        raise ConfigError("Static quantization needs calibration samples: give at least one (32 are usual).")
    quantizer = QnnQuantizer(backend=QnnExecuTorchBackendType.kHtpBackend, soc_model=QcomChipset[soc])
    quantizer.set_default_quant_config(
        _TYPES[scheme], is_conv_per_channel=True, is_linear_per_channel=True, act_observer=_OBSERVERS[scheme]
    )
    with torch.no_grad():
        # A module of its own: preparing rewrites the one that it is given.
        prepared = prepare_pt2e(program.module(), quantizer)
        assert_unchanged(program.module(), prepared, calibration[0])
        for done, sample in enumerate(calibration, start=1):
            prepared(*sample)
            if progress is not None:
                progress(done, len(calibration))
        converted: GraphModule = convert_pt2e(prepared)
    return converted
