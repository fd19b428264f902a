"""Compressed weights as Core ML packages store them, rounded in torch so that the network can be evaluated there."""

import copy
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.palettes import PALETTE_GROUP, palettized
from pocketcrafter.quantize.config import CompressedWeights, WeightGrid
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.runtime.errors import ConfigError

SMALLEST: Final = 2048
"""Weights of fewer elements are not compressed: the layers are small, and the bytes saved too."""


def compress_weights(model: nn.Module, scheme: CompressedWeights) -> nn.Module:
    """Round the weights of convolutions and linear layers; activations are not quantized.

    Scales and palettes are float16 numbers, as packages store them. Integers are symmetric: an INT8 channel's scale is
    its largest magnitude over 127, an INT4 group's its largest over 7.

    Parameters
    ----------
    model
        Not modified.
    scheme
        The grid, and modules that keep their weights.

    Returns
    -------
    torch.nn.Module
        A copy that computes in float32 with the rounded weights: the fake-quantized model.

    Raises
    ------
    ConfigError
        If no weight is left to quantize.
    """
    compressed = copy.deepcopy(model)
    for name, grid in compressed_grids(model, scheme).items():
        module = compressed.get_submodule(name.rpartition(".")[0])
        weight = module.get_parameter("weight").detach()
        module.weight = nn.Parameter(_ROUND[grid](weight, scheme), requires_grad=False)
    return compressed


def compressed_grids(model: nn.Module, scheme: CompressedWeights) -> dict[str, WeightGrid]:
    """Return the grid of each weight that `compress_weights` rounds, by its qualified name.

    A layer whose number of inputs is no multiple of the group size becomes INT8 in place of INT4.

    Raises
    ------
    ConfigError
        If no weight is left to quantize.
    """
    found = {}
    for name, module in model.named_modules():
        kept = is_within(name, scheme.keep_fp32)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.weight.numel() >= SMALLEST and not kept:
            uneven = scheme.grid is WeightGrid.INT4 and module.weight.shape[1] % scheme.group_size
            found[f"{name}.weight".lstrip(".")] = WeightGrid.INT8 if uneven else scheme.grid
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has no convolution or linear layer of {SMALLEST} weights or more that keep_fp32 "
            "leaves to quantize: keep fewer modules, or build it in fp16."
        )
    return found


def has_groups(weight_shape: tuple[int, ...]) -> bool:
    """Whether the output channels of a weight are a multiple of the 16 that may share a palette."""
    return weight_shape[0] % PALETTE_GROUP == 0


def _int8(weight: Tensor, _scheme: CompressedWeights) -> Tensor:
    return _multiples(weight, weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True), 127)


def _int4(weight: Tensor, scheme: CompressedWeights) -> Tensor:
    groups = weight.reshape(weight.shape[0], -1, scheme.group_size, *weight.shape[2:])
    # coremltools cannot divide a kernel spatially: all its taps share a group's scale.
    return _multiples(groups, groups.abs().amax(tuple(range(2, groups.ndim)), keepdim=True), 7).reshape(weight.shape)


def _multiples(weight: Tensor, largest: Tensor, levels: int) -> Tensor:
    scale = (largest / levels).half().float()
    return (weight / scale.where(scale > 0, 1.0)).round().clamp(-levels, levels) * scale


def _palette(bits: int) -> Callable[[Tensor, CompressedWeights], Tensor]:
    def rounded(weight: Tensor, scheme: CompressedWeights) -> Tensor:
        grouped = scheme.grouped_palettes and has_groups(tuple(weight.shape))
        parts = torch.split(weight, PALETTE_GROUP) if grouped else (weight,)
        return torch.cat([palettized(part, bits) for part in parts])

    return rounded


_ROUND: Final[Mapping[WeightGrid, Callable[[Tensor, CompressedWeights], Tensor]]] = {
    WeightGrid.INT8: _int8,
    WeightGrid.INT4: _int4,
    WeightGrid.PALETTE6: _palette(6),
    WeightGrid.PALETTE4: _palette(4),
}
