"""Gives the channels of a restoration network ranges of one size, so that one INT8 scale serves them all alike.

A factor is taken from the layer that makes a channel and given to the layers that read it. ReLU and sums let it pass,
so that in full precision nothing changes (cross-layer equalization: Nagel et al., ICCV 2019).
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from pocketcrafter.export.models.blocks import FilmBlock
from pocketcrafter.export.models.restore import Restore
from pocketcrafter.runtime.errors import ConfigError

_FARTHEST: Final = 64.0
"""No channel's factor is more than this below the largest one's: what a dead channel is made of must stay small."""
_SHUFFLED: Final = 4
"""Channels that a pixel shuffle makes one channel of, one after the other."""


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
    if bent := [n for n, b in _film_blocks(made).items() if not isinstance(b.activate, nn.ReLU)]:
        raise ConfigError(f"Factors pass through ReLU alone; {', '.join(bent)} have another activation.")
    watch = _Reach()
    with torch.no_grad(), watch.watching(made):
        for sample in samples:
            made(*sample)
    with torch.no_grad():
        _equalize_hidden(made, watch.reach)
        _equalize_streams(made, watch.reach)
        _equalize_condition(made, watch.reach)
    return made


def _equalize_hidden(network: Restore, reach: Mapping[str, Tensor]) -> None:
    for name, block in _film_blocks(network).items():
        expanded, filtered = (_factors(reach[f"{name}.{at}"]) for at in ("expand", "depthwise"))
        bent = _factors(reach[f"{name}.film"])
        _make_smaller(block.expand, expanded)
        block.depthwise.weight.mul_(expanded.reshape(-1, 1, 1, 1))
        _make_smaller(block.depthwise, filtered)
        _make_smaller(block.scale, bent / filtered)
        _make_smaller(block.shift, bent)
        _read_larger(block.project, bent)


def _equalize_streams(network: Restore, reach: Mapping[str, Tensor]) -> None:
    """Equalize what residuals add up to, level by level; skips tie the way down to the way up."""
    levels = len(network.down)
    for level in range(levels + 1):
        prefixes = (f"encoder.{level}.", f"decoder.{level}.") if level < levels else ("middle.",)
        blocks = {n: b for n, b in _film_blocks(network).items() if n.startswith(prefixes)}
        factors = _factors(torch.stack([reach[f"{name}.{at}"] for name in blocks for at in ("in", "out")]).amax(0))
        _make_smaller(network.head if level == 0 else network.down[level - 1], factors)
        _read_larger(network.tail if level == 0 else network.up[level - 1], factors)
        if level < levels:
            _make_smaller(network.up[level], factors.repeat_interleave(_SHUFFLED))
            _read_larger(network.down[level], factors)
        for block in blocks.values():
            _make_smaller(block.project, factors)
            _read_larger(block.expand, factors)


def _equalize_condition(network: Restore, reach: Mapping[str, Tensor]) -> None:
    first, second = (_factors(reach[f"condition.{place}"]) for place in (0, 2))
    _make_smaller(network.condition[0], first)
    _read_larger(network.condition[2], first)
    _make_smaller(network.condition[2], second)
    for block in _film_blocks(network).values():
        for layer in (block.scale, block.shift):
            _read_larger(layer, second)


def _factors(reach: Tensor) -> Tensor:
    """Return each channel's share of the largest one's reach; channels that never differ from 0 count as small."""
    largest = reach.max().clamp(min=torch.finfo(reach.dtype).tiny)
    return reach.clamp(min=largest / _FARTHEST) / largest


def _make_smaller(layer: nn.Module, factors: Tensor) -> None:
    weight = layer.get_parameter("weight")
    weight.div_(factors.reshape(-1, *[1] * (weight.ndim - 1)))
    layer.get_parameter("bias").div_(factors)


def _read_larger(layer: nn.Module, factors: Tensor) -> None:
    weight = layer.get_parameter("weight")
    weight.mul_(factors.reshape(1, -1, *[1] * (weight.ndim - 2)))


def _film_blocks(network: nn.Module) -> dict[str, FilmBlock]:
    return {name: module for name, module in network.named_modules() if isinstance(module, FilmBlock)}


class _Reach:
    """Sees how far from 0 each channel of a network gets."""

    def __init__(self) -> None:
        self.reach: dict[str, Tensor] = {}
        self._product = torch.empty(0)

    @contextmanager
    def watching(self, network: Restore) -> Iterator[None]:
        """Watch inside the context."""
        handles = [handle for name, block in _film_blocks(network).items() for handle in self._watch(name, block)]
        places = ((f"condition.{place}", network.condition[place]) for place in (0, 2))
        handles.extend(layer.register_forward_hook(self._positive(name)) for name, layer in places)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _watch(self, name: str, block: FilmBlock) -> list[Any]:
        def filtered(_layer: nn.Module, _inputs: object, said: Tensor) -> None:
            self._see(f"{name}.depthwise", said)
            self._product = said

        def scaled(_layer: nn.Module, _inputs: object, said: Tensor) -> None:
            self._product = self._product * said.reshape(-1, said.shape[1], 1, 1)
            self._see(f"{name}.film", self._product)

        def shifted(_layer: nn.Module, _inputs: object, said: Tensor) -> None:
            self._see(f"{name}.film", said)
            self._see(f"{name}.film", (self._product + said.reshape(-1, said.shape[1], 1, 1)).relu())

        def passed(_block: nn.Module, inputs: tuple[Tensor, ...], said: Tensor) -> None:
            self._see(f"{name}.in", inputs[0])
            self._see(f"{name}.out", said)

        return [
            block.expand.register_forward_hook(self._positive(f"{name}.expand")),
            block.depthwise.register_forward_hook(filtered),
            block.scale.register_forward_hook(scaled),
            block.shift.register_forward_hook(shifted),
            block.register_forward_hook(passed),
        ]

    def _positive(self, name: str) -> Any:  # noqa: ANN401 - a hook
        return lambda _layer, _inputs, said: self._see(name, said.relu())

    def _see(self, name: str, said: Tensor) -> None:
        far = said.transpose(0, 1).flatten(1).abs().amax(1)
        self.reach[name] = torch.maximum(self.reach[name], far) if name in self.reach else far
