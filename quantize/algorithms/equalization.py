"""Cross-layer equalization: gives the channels between layers equal ranges, so that one INT8 scale serves them all.

Each channel is divided by a factor in the layer that produces it, and the weights of the layer that reads it are
multiplied by the factor. ReLU commutes with positive factors, so that the float network computes the same (Nagel
et al., ICCV 2019).
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from pocketcrafter.runtime.errors import ConfigError

_MAX_RATIO: Final = 64.0
"""The largest ratio of two channels' factors: the weights of a channel that is almost always 0 must not explode."""
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
    """Return each channel's range as a share of the largest one's, at least one 64th."""
    largest = ranges.max().clamp(min=torch.finfo(ranges.dtype).tiny)
    return ranges.clamp(min=largest / _MAX_RATIO) / largest


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
