"""Ranges of activations: which interval of values an 8-bit quantization represents, chosen from calibration data."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from pocketcrafter.quantize.config import ActivationRange, Entropy, MinMax, Mse, Percentile

SAMPLED_VALUES: Final = 8192
"""Values that are kept of an activation in each calibration sample."""

_LEVELS: Final = 256
_SEARCHED_VALUES: Final = 65_536
"""Values of all samples together that a search for the best range evaluates."""
_SHARES: Final = torch.linspace(1.0, 0.3, 29)
"""Shares of an end of the full range that the search tries."""
_BINS: Final = 2048
_SMALL_TENSOR: Final = 1024
_SMALL_TENSOR_MARGIN: Final = 1.5


def activation_range(how: ActivationRange, kept: Sequence[Tensor], values: int) -> tuple[float, float]:
    """Return the range of an activation for asymmetric 8-bit quantization.

    Parameters
    ----------
    how
        The method and its parameters.
    kept
        Values of each calibration sample, one-dimensional, with the sample's extremes among them.
    values
        Number of elements of the activation in one sample; see :func:`margin_for`.

    Returns
    -------
    tuple of float
        The smallest and the largest value that has a level; 0 lies between them.
    """
    low, high = clipped_range(how, kept)
    return with_margin(low, high, margin_for(values))


def clipped_range(how: ActivationRange, kept: Sequence[Tensor]) -> tuple[float, float]:
    """Return the range that a method chooses, before any margin; parameters as of `activation_range`."""
    return _METHODS[type(how)](how, kept)


def margin_for(values: int) -> float:
    """Return the factor by which the range of an 8-bit activation exceeds what calibration saw.

    A feature map has tens of thousands of values in each sample, and few of a new photo's values lie beyond them. A
    conditioning vector has dozens: a new photo's values often exceed them, and clipping one of them distorts the whole
    picture. A margin of a half costs such a vector less than one bit; for feature maps it would cost as much and gain
    nothing.

    Parameters
    ----------
    values
        Number of elements of the activation in one sample.

    Returns
    -------
    float
        1.5 below 1024 values, else 1.
    """
    return _SMALL_TENSOR_MARGIN if values < _SMALL_TENSOR else 1.0


def with_margin(low: float, high: float, factor: float) -> tuple[float, float]:
    """Return a range that contains 0, both ends multiplied by a factor.

    Parameters
    ----------
    low, high
        The observed range.
    factor
        At least 1.
    """
    return min(low, 0) * factor, max(high, 0) * factor


@cache
def sampled_indices(values: int, most: int = SAMPLED_VALUES) -> Tensor:
    """Return which elements of a flat tensor are kept, in ascending order.

    One element is drawn at random from each of ``most`` equal intervals. A constant stride would hit the same columns
    of a feature map in every row: 1024 elements of a map 512 wide would all come from its left edge.

    Parameters
    ----------
    values
        Number of elements of the tensor.
    most
        How many are kept.

    Returns
    -------
    Tensor
        Indices, int64, the same in every call; all indices where the tensor has no more than ``most`` elements.
    """
    if values <= most:
        return torch.arange(values)
    drawn = (np.arange(most) + np.random.default_rng(most).random(most)) * values / most
    return torch.from_numpy(np.minimum(drawn.astype(np.int64), values - 1))


def _min_max(_how: MinMax, samples: Sequence[Tensor]) -> tuple[float, float]:
    return min(float(values.min()) for values in samples), max(float(values.max()) for values in samples)


def _percentile(how: Percentile, samples: Sequence[Tensor]) -> tuple[float, float]:
    ends = torch.tensor([1 - how.percent / 100, how.percent / 100])
    lows, highs = zip(*(torch.quantile(values, ends).tolist() for values in samples), strict=True)
    return min(lows), max(highs)


def _mse(_how: Mse, samples: Sequence[Tensor]) -> tuple[float, float]:
    values = _subsampled(samples)
    return _search(values, lambda low, high: float((_fake_quantized(values, low, high) - values).square().mean()))


def _entropy(_how: Entropy, samples: Sequence[Tensor]) -> tuple[float, float]:
    bottom, top = _min_max(MinMax(), samples)
    values = _subsampled(samples)

    def divergence(low: float, high: float) -> float:
        quantized, expected = (
            torch.histc(v, _BINS, bottom, top) + 1e-3 for v in (_dithered(values, low, high), values.clamp(low, high))
        )
        expected, quantized = expected / expected.sum(), quantized / quantized.sum()
        # Clipped values pile up in the end bins of both histograms, where the divergence does not see them.
        clipped = float(((values < low) | (values > high)).float().mean())
        return float((expected * (expected / quantized).log()).sum()) + clipped

    return _search(values, divergence)


def _search(values: Tensor, cost: Callable[[float, float], float]) -> tuple[float, float]:
    """Shrink the upper, then the lower end to the share with the lowest cost; 0 always stays inside."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    high = min(((cost(low, high * float(s)), high * float(s)) for s in _SHARES), key=lambda pair: pair[0])[1]
    low = min(((cost(low * float(s), high), low * float(s)) for s in _SHARES), key=lambda pair: pair[0])[1]
    return low, high


def _fake_quantized(values: Tensor, low: float, high: float) -> Tensor:
    scale = max((high - low) / (_LEVELS - 1), 1e-12)
    zero_point = round(-low / scale)
    return ((values / scale).round() + zero_point).clamp(0, _LEVELS - 1).sub(zero_point).mul(scale)


def _dithered(values: Tensor, low: float, high: float) -> Tensor:
    """Return quantized values, each moved uniformly within its step: a density that histograms can compare."""
    scale = max((high - low) / (_LEVELS - 1), 1e-12)
    offsets = torch.linspace(-0.5, 0.5, values.numel())
    shuffled = offsets[torch.randperm(values.numel(), generator=torch.Generator().manual_seed(0))]
    return _fake_quantized(values, low, high) + shuffled * scale


def _subsampled(samples: Sequence[Tensor]) -> Tensor:
    values = torch.cat(list(samples))
    extremes = torch.tensor(_min_max(MinMax(), samples))
    return torch.cat([values[sampled_indices(len(values), _SEARCHED_VALUES)], extremes])


_METHODS: Final[Mapping[type, Callable[[Any, Sequence[Tensor]], tuple[float, float]]]] = {
    MinMax: _min_max,
    Percentile: _percentile,
    Mse: _mse,
    Entropy: _entropy,
}
