"""Gives the hidden channels of a restoration network ranges of one size, so that one INT8 scale serves them all alike.

A factor is taken from the layer that makes a channel and given to the layer that reads it. ReLU lets it pass, so that
in full precision nothing changes (cross-layer equalization: Nagel et al., ICCV 2019). What residuals add up to and
the condition are left: equalized, they brought INT8 nothing.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from pocketcrafter.export.models.blocks import ScaledBlock
from pocketcrafter.export.models.restore import Restore
from pocketcrafter.runtime.errors import ConfigError

_FARTHEST: Final = 64.0
"""No channel's factor is more than this below the largest one's: what a dead channel is made of must stay small."""


def equalized(network: Restore, samples: Sequence[tuple[Tensor, ...]]) -> Restore:
    """Return a network that computes the same, up to float32's rounding, with channels that reach equally far.

    Parameters
    ----------
    network
        Left as it is. Its activations are ReLU: others do not let factors pass.
    samples
        Inputs in calling order, ``(tile, amounts)`` of any batch, that channels' ranges are read from.

    Raises
    ------
    ConfigError
        If there is no sample, or an activation is not ReLU.
    """
    if not samples:
        raise ConfigError("Equalization reads channels' ranges from samples: give at least one (32 are usual).")
    made = copy.deepcopy(network)
    blocks = {name: module for name, module in made.named_modules() if isinstance(module, ScaledBlock)}
    if bent := [name for name, block in blocks.items() if not isinstance(block.activate, nn.ReLU)]:
        raise ConfigError(f"Factors pass through ReLU alone; {', '.join(bent)} have another activation.")
    layers = [layer for block in blocks.values() for layer in (block.expand, block.depthwise)]
    with torch.no_grad():
        with _watching(layers) as reach:
            for sample in samples:
                made(*sample)
        for block in blocks.values():
            expanded, filtered = (_factors(reach[layer]) for layer in (block.expand, block.depthwise))
            _make_smaller(block.expand, expanded)
            block.depthwise.weight.mul_(expanded.reshape(-1, 1, 1, 1))
            _make_smaller(block.depthwise, filtered)
            block.project.weight.mul_(filtered.reshape(1, -1, 1, 1))
    return made


def _factors(reach: Tensor) -> Tensor:
    """Return each channel's share of the largest one's reach; channels that never differ from 0 count as small."""
    largest = reach.max().clamp(min=torch.finfo(reach.dtype).tiny)
    return reach.clamp(min=largest / _FARTHEST) / largest


def _make_smaller(layer: nn.Module, factors: Tensor) -> None:
    layer.get_parameter("weight").div_(factors.reshape(-1, 1, 1, 1))
    layer.get_parameter("bias").div_(factors)


@contextmanager
def _watching(layers: Sequence[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Yield how far above 0 each channel of layers gets while the context lasts."""
    reach: dict[nn.Module, Tensor] = {}

    def seen(layer: nn.Module, _inputs: object, said: Tensor) -> None:
        far = said.relu().amax((0, 2, 3))
        reach[layer] = torch.maximum(reach[layer], far) if layer in reach else far

    handles = [layer.register_forward_hook(seen) for layer in layers]
    try:
        yield reach
    finally:
        for handle in handles:
            handle.remove()
