"""Quantization-aware training: rounding in the forward pass, straight-through gradients (Bengio et al., 2013)."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pocketcrafter.quantize.algorithms.blocks import GROUP_SIZE, IntegerFormat, scales_for
from pocketcrafter.quantize.algorithms.rounding import bits_for
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches

_RESCALE_EVERY: Final = 25
"""Forward passes between two searches for scales: a search takes longer than the rest of the pass."""


class SwitchedStudent(nn.Module):
    """The network of fake-quantization switches as a trainable module; its parameters have the names of the model's.

    Parameters
    ----------
    board
        Calibrated; modules that are switched on are fake-quantized.
    """

    def __init__(self, board: FakeQuantSwitches) -> None:
        super().__init__()
        self.graph = board.graph
        for parameter in self.graph.parameters():
            parameter.requires_grad = True

    def train(self, mode: bool = True) -> "SwitchedStudent":
        """Do nothing: an exported network has no modes."""
        del mode
        return self

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the fake-quantized network."""
        output: Tensor = self.graph(*inputs)
        return output

    def weights(self) -> dict[str, Tensor]:
        """Return the parameters by their names in the model."""
        return {name: parameter.detach() for name, parameter in self.graph.named_parameters()}


class RoundedWeight(nn.Module):
    """A parametrization that rounds a linear layer's weight.

    Parameters
    ----------
    bits
        2, 4 or 8.
    transposed
        Whether inputs are the first axis, as in an embedding.

    Notes
    -----
    Scales are bfloat16 numbers, as artifacts store them: rounding the trained weight again changes nothing.
    """

    scales: Tensor

    def __init__(self, bits: int, *, transposed: bool = False) -> None:
        super().__init__()
        self.integers, self.transposed = IntegerFormat(bits, bfloat16_scales=True), transposed
        self._passes = 0
        self.register_buffer("scales", torch.empty(0), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Round; gradients pass unchanged."""
        matrix = weight.T if self.transposed else weight
        if self._passes % _RESCALE_EVERY == 0 or not self.training:
            self.scales = scales_for(matrix.detach(), self.integers)
        self._passes += 1
        steps = self.scales.repeat_interleave(GROUP_SIZE, 1)
        rounded = (matrix.detach() / steps).round().clamp(*self.integers.limits) * steps
        straight = matrix + (rounded - matrix).detach()
        return straight.T if self.transposed else straight


def round_while_training(
    model: nn.Module, bits: int, keep_fp32: tuple[str, ...] = (), module_bits: Mapping[str, int] | None = None
) -> list[str]:
    """Make a model's linear layers and embeddings compute with rounded weights, in place.

    Parameters
    ----------
    model
        Linear layers with a multiple of 32 inputs and embeddings with a multiple of 32 words are rounded.
    bits
        2, 4 or 8.
    keep_fp32
        Qualified names of modules that stay float32 with everything below them.
    module_bits
        Bits of single modules by their qualified names, with everything below them.

    Returns
    -------
    list of str
        The rounded layers' names.
    """
    chosen = {}
    for name, module in model.named_modules():
        embedding = isinstance(module, nn.Embedding)
        if not (embedding or isinstance(module, nn.Linear)) or is_within(name, keep_fp32):
            continue
        inputs = module.weight.shape[0 if embedding else 1]
        if inputs % GROUP_SIZE == 0:
            chosen[name] = (module, embedding)
    for name, (module, embedding) in chosen.items():
        rounding = RoundedWeight(bits_for(name, bits, module_bits or {}), transposed=embedding)
        parametrize.register_parametrization(module, "weight", rounding)
    return list(chosen)


def settled(model: nn.Module) -> nn.Module:
    """Replace a model's weights by the rounded ones that it computes with, in place, and set evaluation mode."""
    model.eval()
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return model
