"""Moves scale between channels of neighboring layers, which changes nothing in floating point and much in integers.

Cross-layer equalization (Nagel et al., ICCV 2019) gives the channels between two layers equal ranges, so that one INT8
scale serves them all: each is divided by a factor in the layer that produces it, and the weights of the layer that
reads it are multiplied by the factor; ReLU commutes with positive factors. SmoothQuant (Xiao et al., ICML 2023) divides
a layer's input channels in the same way, to move outliers from activations into weights.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.hessians import Hessians
from pocketcrafter.runtime.errors import ConfigError

_MAX_RATIO: Final = 64.0
"""The largest ratio of two channels' factors: the weights of a channel that is almost always 0 must not explode."""
_MAX_FACTOR: Final = 16.0
"""Factors lie between this and its inverse: beyond that, the weights of the producing layer get outliers instead."""
_Network = TypeVar("_Network", bound=nn.Module)


def equalized(network: _Network, pairs: Mapping[str, str], samples: Sequence[tuple[Tensor, ...]]) -> _Network:
    """Return a network that computes the same, up to float32 rounding, with channels of equal ranges.

    Parameters
    ----------
    network
        Not modified.
    pairs
        For each convolution with a bias the convolution that reads its output, through nothing but ReLU; in the order
        in which they run.
    samples
        Inputs in calling order, of any batch size, that channels' ranges are observed on.

    Raises
    ------
    ConfigError
        If there is no sample.
    """
    if not samples:
        raise ConfigError("Equalization reads channels' ranges from samples: give at least one (32 are usual).")
    made = copy.deepcopy(network)
    with torch.no_grad():
        with _observed(made, tuple(pairs)) as ranges:
            for sample in samples:
                made(*sample)
        for maker, reader in pairs.items():
            factors = _factors(ranges[maker])
            producer, consumer = made.get_submodule(maker), made.get_submodule(reader)
            producer.get_parameter("weight").div_(factors.reshape(-1, 1, 1, 1))
            producer.get_parameter("bias").div_(factors)
            weight = consumer.get_parameter("weight")
            # A depthwise convolution has its input channels on the first axis.
            weight.mul_(factors.reshape((-1, 1, 1, 1) if weight.shape[1] == 1 else (1, -1, 1, 1)))
    return made


def _factors(ranges: Tensor) -> Tensor:
    """Return each channel's range as a share of the largest, at least one 64th; 1 for channels that were always 0.

    Of those nothing is known, and weights that grew with every equalization would leave float16 in the end.
    """
    largest = ranges.max()
    return torch.where(ranges > 0, ranges.clamp(min=largest / _MAX_RATIO) / largest, 1.0)


@contextmanager
def _observed(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Yield the largest positive value of each output channel of layers, observed inside the context."""
    ranges: dict[str, Tensor] = {}

    def hook(name: str, output: Tensor) -> None:
        largest = output.relu().amax((0, 2, 3))
        ranges[name] = torch.maximum(ranges[name], largest) if name in ranges else largest

    handles = [
        network.get_submodule(name).register_forward_hook(lambda _m, _i, output, name=name: hook(name, output))
        for name in layers
    ]
    try:
        yield ranges
    finally:
        for handle in handles:
            handle.remove()


def smoothed(
    model: _Network, pairs: Mapping[str, Sequence[str]], hessians: Hessians, strength: float
) -> tuple[_Network, dict[str, Tensor]]:
    """Return an equivalent model whose most active input channels have larger weights.

    Parameters
    ----------
    model
        Not modified.
    pairs
        For each producing module the linear layers that read its output. The producer has a ``weight`` whose first axis
        is its output channels (a norm, or a linear layer without bias), and nothing else reads its output.
    hessians
        Of the linear layers.
    strength
        From 0 (no change) to 1 (weights scale with the root mean square of their inputs).

    Returns
    -------
    torch.nn.Module
        A copy of the model.
    dict
        The Hessians of the copy.

    Raises
    ------
    ConfigError
        If a linear layer has no Hessian.
    """
    made, changed = copy.deepcopy(model), dict(hessians)
    for maker, readers in pairs.items():
        if lacking := [name for name in readers if name not in hessians]:
            raise ConfigError(
                f"Smoothing needs the Hessians of {', '.join(lacking)}: run the model while they are collected."
            )
        factor = smoothing_factor(hessians[readers[0]].diagonal().sqrt().float(), strength)
        with torch.no_grad():
            weight: Tensor = made.get_submodule(maker).get_parameter("weight")
            weight.div_(factor if weight.ndim == 1 else factor[:, None])
            for name in readers:
                made.get_submodule(name).get_parameter("weight").mul_(factor)
                changed[name] = hessians[name] / (factor[:, None] * factor).double()
    return made, changed


def smoothing_factor(spread: Tensor, strength: float) -> Tensor:
    """Return what smoothing divides each channel of a layer's input by, and multiplies its weights by.

    Parameters
    ----------
    spread
        Root mean square of each channel.
    strength
        As for :func:`smoothed`.
    """
    spread = spread.clamp(min=1e-8)
    return (spread / spread.log().mean().exp()).pow(strength).clamp(1 / _MAX_FACTOR, _MAX_FACTOR)
