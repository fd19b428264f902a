"""Weights of few values under float arithmetic, as Core ML packages keep them; rounded here, so that torch has them."""

import copy
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import torch
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.blocks import BLOCK
from pocketcrafter.quantize.algorithms.palettes import PALETTE_GROUP, palettized
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.runtime.errors import ConfigError

SMALLEST: Final = 2048
"""Weights of fewer elements stay as they are: the layers are small, and the bytes saved too."""


class Grid(StrEnum):
    """The values that a weight may have."""

    INT8 = "INT8"
    """Whole multiples of a scale for each output channel."""
    INT4 = "INT4"
    """Whole multiples of a scale for each block of 32 inputs."""
    PALETTE6 = "6-bit palettes"
    """One of 64 values, a list for each 16 output channels."""
    PALETTE4 = "4-bit palettes"
    """One of 16 values, a list for each 16 output channels."""


def quantize_weights(
    model: nn.Module, keep_fp32: tuple[str, ...] = (), grid: Grid = Grid.INT8, *, groups: bool = True
) -> tuple[nn.Module, Mapping[str, Grid]]:
    """Round the weights of convolutions and linear layers; activations are not quantized.

    Scales and palettes are float16 numbers, which is what packages keep. Integers are symmetric: an INT8 channel's
    scale is its largest magnitude over 127, an INT4 block's its largest over 7.

    Parameters
    ----------
    model
        Left as it is.
    keep_fp32
        Qualified names of modules whose weights stay as they are, with everything below them.
    grid
        The values. A layer whose inputs are no whole blocks becomes INT8 in INT4's place.
    groups
        Whether palettes may differ between groups of 16 output channels (iOS 18 and later); else each layer has one, as
        has any whose outputs are no whole groups.

    Returns
    -------
    torch.nn.Module
        A copy that computes in float32 with the rounded weights: the fake-quantized model.
    dict
        The grid of each weight that was rounded, by its qualified name.

    Raises
    ------
    ConfigError
        If no weight is left to quantize.
    """
    quantized, found = copy.deepcopy(model), {}
    for name, module in quantized.named_modules():
        kept = is_within(name, keep_fp32)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.weight.numel() >= SMALLEST and not kept:
            weight = module.weight.detach()
            own = Grid.INT8 if grid is Grid.INT4 and weight.shape[1] % BLOCK else grid
            module.weight = nn.Parameter(_ROUND[own](weight, groups), requires_grad=False)
            found[f"{name}.weight".lstrip(".")] = own
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has no convolution or linear layer of {SMALLEST} weights or more that keep_fp32 "
            "leaves to quantize: keep fewer modules, or build it in fp16."
        )
    return quantized, found


def has_groups(weight_shape: tuple[int, ...]) -> bool:
    """Whether a weight's output channels are whole groups that may have palettes of their own."""
    return weight_shape[0] % PALETTE_GROUP == 0


def _int8(weight: Tensor, _groups: bool) -> Tensor:
    return _multiples(weight, weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True), 127)


def _int4(weight: Tensor, _groups: bool) -> Tensor:
    blocks = weight.reshape(weight.shape[0], -1, BLOCK, *weight.shape[2:])
    # coremltools has no blocks within a kernel: its taps share the scale.
    return _multiples(blocks, blocks.abs().amax(tuple(range(2, blocks.ndim)), keepdim=True), 7).reshape(weight.shape)


def _multiples(weight: Tensor, largest: Tensor, levels: int) -> Tensor:
    scale = (largest / levels).half().float()
    return (weight / scale.where(scale > 0, 1.0)).round().clamp(-levels, levels) * scale


def _palette(bits: int) -> Callable[[Tensor, bool], Tensor]:
    def rounded(weight: Tensor, groups: bool) -> Tensor:
        parts = torch.split(weight, PALETTE_GROUP) if groups and has_groups(tuple(weight.shape)) else (weight,)
        return torch.cat([palettized(part, bits) for part in parts])

    return rounded


_ROUND: Final[Mapping[Grid, Callable[[Tensor, bool], Tensor]]] = {
    Grid.INT8: _int8,
    Grid.INT4: _int4,
    Grid.PALETTE6: _palette(6),
    Grid.PALETTE4: _palette(4),
}
