"""Rounds the weights of convolutions in the float network, so that INT8 artifacts find them on their grid already.

A convolution is a product with the patches that it sees. Pixels have a mean far from 0, and weights that look for edges
add up to nothing: rounded to nearest they no longer do, and the mean comes through. GPTQ (Frantar et al., ICLR 2023)
corrects each weight's error by those that are not rounded yet.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar, cast

import torch
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.rounding import round_columns
from pocketcrafter.quantize.config import Gptq
from pocketcrafter.runtime.errors import ConfigError

_Network = TypeVar("_Network", bound=nn.Module)
_HIGHEST: Final = 127
"""INT8's grid by output channel, on every target that has one: as many levels below 0 as above, a channel's largest
magnitude on the last of them."""


@contextmanager
def observed_patches(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yield the sums of ``x·xᵀ`` over what convolutions and linear layers see inside the context.

    By qualified name float64 ``(groups, K, K)``, where K is the number of inputs of one output.
    """
    sums: dict[str, Tensor] = {}

    def watch(name: str, layer: nn.Conv2d | nn.Linear, given: Tensor) -> None:
        groups = 1
        if isinstance(layer, nn.Conv2d):
            groups, padding = layer.groups, cast("tuple[int, int]", layer.padding)
            patches = nn.functional.unfold(given, layer.kernel_size, layer.dilation, padding, layer.stride)
            rows = patches.transpose(0, 1).reshape(groups, patches.shape[1] // groups, -1)
        else:
            rows = given.reshape(1, -1, given.shape[-1]).transpose(1, 2)
        sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64)) + (rows @ rows.transpose(1, 2)).double()

    handles = [
        layer.register_forward_pre_hook(lambda layer, given, name=name: watch(name, layer, given[0].detach()))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()


def on_integer_grid(network: _Network, samples: Sequence[tuple[Tensor, ...]]) -> _Network:
    """Return a network whose convolutions have weights that INT8 by output channel stores without a further error.

    A convolution that no sample reaches keeps its weights.

    Parameters
    ----------
    network
        Not modified.
    samples
        Inputs in calling order, of any batch size, that the convolutions are observed on.

    Raises
    ------
    ConfigError
        If there is no sample.
    """
    if not samples:
        raise ConfigError("GPTQ weighs errors by what layers see: give at least one sample (32 are usual).")
    made = copy.deepcopy(network)
    with torch.no_grad():
        with observed_patches(made) as sums:
            for sample in samples:
                made(*sample)
        for name, layer in made.named_modules():
            if isinstance(layer, nn.Conv2d) and name in sums:
                layer.weight.copy_(_rounded(layer.weight, sums[name]))
    return made


def _rounded(weight: Tensor, sums: Tensor) -> Tensor:
    """Return weights ``(outputs, inputs, H, W)`` on the grid."""
    rows = []
    for matrix, hessian in zip(weight.flatten(1).chunk(len(sums)), sums, strict=True):
        largest = matrix.abs().amax(1, keepdim=True)
        steps = (largest.double() / _HIGHEST).clamp(min=1e-12).expand(matrix.shape)
        seen = bool(hessian.diagonal().mean() > 0)  # a channel that is always 0 says nothing of its weights
        known = hessian if seen else torch.eye(len(hessian), dtype=torch.float64)
        # A build reads the step off the largest magnitude, which therefore stays what it is.
        pinned = matrix.abs() == largest
        levels = round_columns(matrix, known, steps, (-_HIGHEST, _HIGHEST), Gptq().damping, pinned=pinned)
        rows.append(levels * steps)
    return torch.cat(rows).reshape(weight.shape).to(weight.dtype)
