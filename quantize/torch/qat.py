"""Networks that are trained through their own rounding: gradients pass as if there were none (Bengio et al., 2013)."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pocketcrafter.quantize.algorithms.blocks import BLOCK, limits, scales_for
from pocketcrafter.quantize.algorithms.rounding import bits_for
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches

_RESCALE_EVERY: Final = 25
"""Forward passes between two choices of scales, which take longer than all the rest."""


class SwitchedStudent(nn.Module):
    """A switchboard's network as one that can be trained; its parameters are named as the model's.

    Parameters
    ----------
    board
        Calibrated; what is switched on is rounded.
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
        """Run the network, rounded."""
        said: Tensor = self.graph(*inputs)
        return said

    def weights(self) -> dict[str, Tensor]:
        """Return the parameters by their names in the model."""
        return {name: parameter.detach() for name, parameter in self.graph.named_parameters()}


class RoundedWeight(nn.Module):
    """What a linear layer's weight is rounded to, as a parametrization.

    Parameters
    ----------
    bits
        2, 4 or 8.
    transposed
        Whether inputs are the first axis, as in an embedding.

    Notes
    -----
    Scales are bfloat16 numbers, as artifacts store them: a weight that was rounded here is not moved when it is built.
    """

    scales: Tensor

    def __init__(self, bits: int, *, transposed: bool = False) -> None:
        super().__init__()
        self.bits, self.transposed = bits, transposed
        self._age = 0
        self.register_buffer("scales", torch.empty(0), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Round, and let gradients through."""
        matrix = weight.T if self.transposed else weight
        if self._age % _RESCALE_EVERY == 0 or not self.training:
            self.scales = scales_for(matrix.detach(), self.bits, brief=True)
        self._age += 1
        steps = self.scales.repeat_interleave(BLOCK, 1)
        rounded = (matrix.detach() / steps).round().clamp(*limits(self.bits)) * steps
        straight = matrix + (rounded - matrix).detach()
        return straight.T if self.transposed else straight


def round_while_training(
    model: nn.Module, bits: int, keep_fp32: tuple[str, ...] = (), special: Mapping[str, int] | None = None
) -> list[str]:
    """Make a model's linear layers and embeddings compute with rounded weights, in place.

    Parameters
    ----------
    model
        Its linear layers of whole blocks and its embeddings of whole blocks of words are rounded.
    bits
        2, 4 or 8.
    keep_fp32
        Qualified names of modules that stay float32 with everything below them.
    special
        Bits of single modules, with everything below them, where they are not ``bits``.

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
        if inputs % BLOCK == 0:
            chosen[name] = (module, embedding)
    for name, (module, embedding) in chosen.items():
        rounding = RoundedWeight(bits_for(name, bits, special or {}), transposed=embedding)
        parametrize.register_parametrization(module, "weight", rounding)
    return list(chosen)


def settled(model: nn.Module) -> nn.Module:
    """Give a model the weights that it computes with, rounded for good, in place; put into evaluation mode."""
    model.eval()
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return model
