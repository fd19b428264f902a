"""Dynamic quantization of linear layers for XNNPACK by torchao: INT4 or INT8 weights, INT8 activations of each row."""

import copy
from typing import Final

import torch
from torch import nn
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, quantize_
from torchao.quantization.granularity import Granularity, PerAxis, PerGroup

from pocketcrafter.quantize.modules import is_within
from pocketcrafter.runtime.errors import ConfigError

GROUP: Final = 32
"""INT4 weights along the input axis that share a scale; INT8 weights share one for each output channel."""


def quantize_linears(model: nn.Module, bits: int, keep_fp32: tuple[str, ...] = ()) -> nn.Module:
    """Quantize the weights of linear layers and, as they come, their inputs.

    Parameters
    ----------
    model
        In evaluation mode; left as it is.
    bits
        4 or 8.
    keep_fp32
        Qualified names of modules that stay float32 with everything below them.

    Returns
    -------
    torch.nn.Module
        A copy that computes as XNNPACK will: the fake-quantized model, ready for export.

    Raises
    ------
    ConfigError
        If there is no layer to quantize.
    """
    quantized = copy.deepcopy(model)
    chosen = {
        name
        for name, module in quantized.named_modules()
        if isinstance(module, nn.Linear) and not is_within(name, keep_fp32)
    }
    if not chosen:
        raise ConfigError(
            f"{type(model).__name__} has no linear layer that keep_fp32 leaves to quantize: keep fewer, or build fp32."
        )
    granularity: Granularity = PerGroup(GROUP) if bits == 4 else PerAxis(0)
    # Torch has no stubs for its narrow integers.
    dtype: torch.dtype = getattr(torch, f"int{bits}")
    config = Int8DynamicActivationIntxWeightConfig(weight_dtype=dtype, weight_granularity=granularity)
    quantize_(quantized, config, filter_fn=lambda _module, name: name in chosen)
    return quantized
