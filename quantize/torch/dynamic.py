"""Dynamic quantization of linear layers for XNNPACK by torchao: INT4 or INT8 weights, INT8 activations of each row."""

import copy

import torch
from torch import nn
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, IntxUnpackedToInt8Tensor, quantize_
from torchao.quantization.granularity import PerAxis

from pocketcrafter.quantize.algorithms.blocks import BLOCK, Blocks
from pocketcrafter.quantize.algorithms.rounding import NEAREST, Guidance, blocks_of
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.runtime.errors import ConfigError


def quantize_linears(
    model: nn.Module, bits: int, keep_fp32: tuple[str, ...] = (), guidance: Guidance = NEAREST
) -> nn.Module:
    """Quantize the weights of linear layers and, as they come, their inputs.

    INT4 weights share a positive scale in blocks of 32 inputs, a bfloat16 number, which is what XNNPACK keeps; INT8
    weights share one for each output channel.

    Parameters
    ----------
    model
        In evaluation mode; left as it is.
    bits
        4 or 8.
    keep_fp32
        Qualified names of modules that stay float32 with everything below them.
    guidance
        How INT4 weights are rounded, and which modules have other bits.

    Returns
    -------
    torch.nn.Module
        A copy that computes as XNNPACK will: the fake-quantized model, ready for export.

    Raises
    ------
    ConfigError
        If there is no layer to quantize, or the guidance asks for bits that XNNPACK does not have.
    """
    if wrong := [name for name, n in guidance.bits.items() if n not in {4, 8}]:
        raise ConfigError(f"weight_bits of {', '.join(wrong)}: XNNPACK has weights of 4 and 8 bits.")
    quantized = copy.deepcopy(model)
    layers = {
        name: module
        for name, module in quantized.named_modules()
        if isinstance(module, nn.Linear) and not is_within(name, keep_fp32)
    }
    if not layers:
        raise ConfigError(
            f"{type(model).__name__} has no linear layer that keep_fp32 leaves to quantize: keep fewer, or build fp32."
        )
    wide = set(layers)
    if 4 in {bits, *guidance.bits.values()}:
        for name, blocks in blocks_of(model, bits, guidance, keep_fp32, positive=True, brief=True).items():
            if blocks.bits == 4:
                layers[name].weight = nn.Parameter(_as_torchao(blocks), requires_grad=False)
                wide.remove(name)
    config = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))
    quantize_(quantized, config, filter_fn=lambda _module, name: name in wide)
    return quantized


def _as_torchao(blocks: Blocks) -> IntxUnpackedToInt8Tensor:
    return IntxUnpackedToInt8Tensor(
        blocks.levels,
        blocks.scales,
        torch.zeros_like(blocks.scales, dtype=torch.int8),
        # Torch has no stubs for its narrow integers.
        target_dtype=getattr(torch, f"int{blocks.bits}"),
        block_size=(1, BLOCK),
        dtype=torch.float32,
        activation_quantization="int8_asym_per_token",
    )
