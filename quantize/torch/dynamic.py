"""Dynamic quantization of linear layers for XNNPACK by torchao: INT4 or INT8 weights, INT8 activations of each row."""

import copy
from typing import Final

import torch
from torch import nn
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, IntxUnpackedToInt8Tensor, quantize_
from torchao.quantization.granularity import PerAxis

from pocketcrafter.quantize.algorithms.blocks import Blocks
from pocketcrafter.quantize.algorithms.hessians import Hessians
from pocketcrafter.quantize.algorithms.rounding import NO_HESSIANS, round_linears
from pocketcrafter.quantize.config import DynamicInt8
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.runtime.errors import ConfigError

_NARROW: Final = 4


def quantize_dynamic_int8(model: nn.Module, scheme: DynamicInt8, hessians: Hessians = NO_HESSIANS) -> nn.Module:
    """Quantize the weights of linear layers, and their inputs at run time.

    INT4 weights have one scale per group, positive and a bfloat16 number, as XNNPACK stores it; INT8 weights have one
    scale per output channel. Layers whose number of inputs is no multiple of the group size have INT8 weights.

    Parameters
    ----------
    model
        In evaluation mode; not modified.
    scheme
        Bits, group size and rounding, and modules that stay float32.
    hessians
        Of the layers that GPTQ rounds, by their qualified names.

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
    layers = {
        name: module
        for name, module in quantized.named_modules()
        if isinstance(module, nn.Linear) and not is_within(name, scheme.keep_fp32)
    }
    if not layers:
        raise ConfigError(
            f"{type(model).__name__} has no linear layer that keep_fp32 leaves to quantize: keep fewer, or build fp32."
        )
    int8 = set(layers)
    if _NARROW in {scheme.bits, *scheme.module_bits.values()}:
        rounded = round_linears(model, scheme, hessians, positive_scales=True, bfloat16_scales=True)
        for name, blocks in rounded.items():
            if blocks.bits == _NARROW:
                layers[name].weight = nn.Parameter(_as_torchao(blocks), requires_grad=False)
                int8.remove(name)
    config = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))
    quantize_(quantized, config, filter_fn=lambda _module, name: name in int8)
    return quantized


def _as_torchao(blocks: Blocks) -> IntxUnpackedToInt8Tensor:
    return IntxUnpackedToInt8Tensor(
        blocks.levels,
        blocks.scales,
        torch.zeros_like(blocks.scales, dtype=torch.int8),
        # Torch's stubs lack its narrow integers.
        target_dtype=getattr(torch, f"int{blocks.bits}"),
        block_size=(1, blocks.group_size),
        dtype=torch.float32,
        activation_quantization="int8_asym_per_token",
    )
