"""Compressed weights as Core ML and Core AI store them: integers with scales, or indices of palettes."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.palettes import PALETTE_GROUP, palettized
from pocketcrafter.quantize.config import CompressedWeights, WeightGrid
from pocketcrafter.quantize.modules import check_modules, is_within
from pocketcrafter.runtime.errors import ConfigError

SMALLEST: Final = 2048
"""Weights of fewer elements are not compressed: the layers are small, and the bytes saved too."""


@dataclass(frozen=True)
class Levels:
    """A weight as integers: each is multiplied by the scale of its channel or group.

    Attributes
    ----------
    integers
        int8, of the weight's shape; symmetric, in ``[-127, 127]`` or ``[-7, 7]``.
    scales
        float32 of float16 numbers, of the weight's rank; each axis divides that of the weight.
    bits
        8 or 4.
    """

    integers: Tensor
    scales: Tensor
    bits: int

    def weight(self) -> Tensor:
        """Return the dequantized weight, float32."""
        scales = self.scales
        for axis, size in enumerate(self.integers.shape):
            scales = scales.repeat_interleave(size // scales.shape[axis], axis)
        return self.integers.float() * scales


@dataclass(frozen=True)
class Palettes:
    """A weight as indices of values, listed once for a group of output channels.

    Attributes
    ----------
    indices
        uint8, of the weight's shape.
    values
        float32 of float16 numbers, ``(groups, 2 ** bits)``, ascending; the last one repeated where there are fewer.
    """

    indices: Tensor
    values: Tensor

    def weight(self) -> Tensor:
        """Return the dequantized weight, float32."""
        groups = self.indices.chunk(len(self.values))
        return torch.cat([own[part.long()] for own, part in zip(self.values, groups, strict=True)])


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
    for name, stored in stored_weights(model, scheme).items():
        module = compressed.get_submodule(name.rpartition(".")[0])
        module.weight = nn.Parameter(stored.weight(), requires_grad=False)
    return compressed


def stored_weights(model: nn.Module, scheme: CompressedWeights) -> dict[str, Levels | Palettes]:
    """Return each weight that `compress_weights` rounds as it is stored, by its qualified name.

    Raises
    ------
    ConfigError
        If no weight is left to quantize.
    """
    grids = compressed_grids(model, scheme)
    return {name: _STORE[grid](model.get_parameter(name).detach(), scheme) for name, grid in grids.items()}


def compressed_grids(model: nn.Module, scheme: CompressedWeights) -> dict[str, WeightGrid]:
    """Return the grid of each weight that `compress_weights` rounds, by its qualified name.

    A layer whose number of inputs is no multiple of the group size becomes INT8 in place of INT4.

    Raises
    ------
    ConfigError
        If no weight is left to quantize, or a module of `module_bits` is none of the model's.
    """
    check_modules(model, tuple(scheme.module_bits), "weight_bits")
    found = {}
    for name, module in model.named_modules():
        kept = is_within(name, scheme.keep_fp32)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.weight.numel() >= SMALLEST and not kept:
            bits = next((n for above, n in scheme.module_bits.items() if is_within(name, (above,))), None)
            grid = scheme.grid if bits is None else _OF_BITS[bits]
            uneven = grid is WeightGrid.INT4 and module.weight.shape[1] % scheme.group_size
            found[f"{name}.weight".lstrip(".")] = WeightGrid.INT8 if uneven else grid
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has no convolution or linear layer of {SMALLEST} weights or more that keep_fp32 "
            "leaves to quantize: keep fewer modules, or build it in fp16."
        )
    return found


_OF_BITS: Final = {8: WeightGrid.INT8, 4: WeightGrid.INT4}


def has_groups(weight_shape: tuple[int, ...]) -> bool:
    """Whether the output channels of a weight are a multiple of the 16 that may share a palette."""
    return weight_shape[0] % PALETTE_GROUP == 0


def _int8(weight: Tensor, _scheme: CompressedWeights) -> Levels:
    return _levels(weight, weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True), 8)


def _int4(weight: Tensor, scheme: CompressedWeights) -> Levels:
    groups = weight.reshape(weight.shape[0], -1, scheme.group_size, *weight.shape[2:])
    # coremltools cannot divide a kernel spatially: all its taps share a group's scale.
    found = _levels(groups, groups.abs().amax(tuple(range(2, groups.ndim)), keepdim=True), 4)
    shape = (weight.shape[0], -1, *(1 for _ in weight.shape[2:]))
    return Levels(found.integers.reshape(weight.shape), found.scales.reshape(shape), found.bits)


def _levels(weight: Tensor, largest: Tensor, bits: int) -> Levels:
    highest = 2 ** (bits - 1) - 1
    scale = (largest / highest).half().float()
    integers = (weight / scale.where(scale > 0, 1.0)).round().clamp(-highest, highest)
    return Levels(integers.to(torch.int8), scale, bits)


def _palette(bits: int) -> Callable[[Tensor, CompressedWeights], Palettes]:
    def stored(weight: Tensor, scheme: CompressedWeights) -> Palettes:
        grouped = scheme.grouped_palettes and has_groups(tuple(weight.shape))
        parts = torch.split(weight, PALETTE_GROUP) if grouped else (weight,)
        rounded = [palettized(part, bits) for part in parts]
        values: list[Tensor] = [torch.unique(part) for part in rounded]
        indices = [torch.searchsorted(own, part) for own, part in zip(values, rounded, strict=True)]
        padded = [torch.cat([own, own[-1:].expand(2**bits - len(own))]) for own in values]
        return Palettes(torch.cat(indices).to(torch.uint8), torch.stack(padded))

    return stored


_STORE: Final[Mapping[WeightGrid, Callable[[Tensor, CompressedWeights], Levels | Palettes]]] = {
    WeightGrid.INT8: _int8,
    WeightGrid.INT4: _int4,
    WeightGrid.PALETTE6: _palette(6),
    WeightGrid.PALETTE4: _palette(4),
}
