"""Ranges of activations: from the values that calibration saw to the lowest and highest value that has a level."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

_LEVELS: Final = 256
KEPT: Final = 8192
"""Values that are kept of each calibration sample, spread over the tensor."""
_WEIGHED: Final = 65_536
"""Values that a range is chosen from."""
_PERCENT: Final = 0.1
_SHARES: Final = torch.linspace(1.0, 0.3, 29)
_BINS: Final = 2048


class Range(StrEnum):
    """How a range is chosen."""

    MIN_MAX = "min-max"
    PERCENTILE = "percentile"
    """All but a thousandth of each sample's values at each end: rare samples are not clipped for common ones' sake."""
    MSE = "mse"
    """The range with the least squared error."""
    ENTROPY = "entropy"
    """The range that loses least information: Kullback-Leibler divergence of histograms (Migacz, GTC 2017)."""


def _everything(samples: Sequence[Tensor]) -> tuple[float, float]:
    return min(float(values.min()) for values in samples), max(float(values.max()) for values in samples)


def _percentile(samples: Sequence[Tensor]) -> tuple[float, float]:
    ends = torch.tensor([_PERCENT / 100, 1 - _PERCENT / 100])
    lows, highs = zip(*(torch.quantile(values, ends).tolist() for values in samples), strict=True)
    return min(lows), max(highs)


def _least_squares(samples: Sequence[Tensor]) -> tuple[float, float]:
    values = _weighed(samples)
    return _least(values, lambda low, high: float((_rounded(values, low, high) - values).square().mean()))


def _least_divergence(samples: Sequence[Tensor]) -> tuple[float, float]:
    bottom, top = _everything(samples)
    values = _weighed(samples)

    def divergence(low: float, high: float) -> float:
        said, meant = (
            torch.histc(v, _BINS, bottom, top) + 1e-3 for v in (_smeared(values, low, high), values.clamp(low, high))
        )
        meant, said = meant / meant.sum(), said / said.sum()
        # What lies outside is lost: it piles up at the ends, where no one can tell it apart.
        lost = float(((values < low) | (values > high)).float().mean())
        return float((meant * (meant / said).log()).sum()) + lost

    return _least(values, divergence)


def _least(values: Tensor, cost: Callable[[float, float], float]) -> tuple[float, float]:
    """Shrink one end after the other while it pays; 0 always has a level."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    high = min(((cost(low, high * float(s)), high * float(s)) for s in _SHARES), key=lambda pair: pair[0])[1]
    low = min(((cost(low * float(s), high), low * float(s)) for s in _SHARES), key=lambda pair: pair[0])[1]
    return low, high


def _rounded(values: Tensor, low: float, high: float) -> Tensor:
    step = max((high - low) / (_LEVELS - 1), 1e-12)
    zero = round(-low / step)
    return ((values / step).round() + zero).clamp(0, _LEVELS - 1).sub(zero).mul(step)


def _smeared(values: Tensor, low: float, high: float) -> Tensor:
    """Return the values rounded, and each spread over its step, as a histogram of levels stands for a density."""
    step = max((high - low) / (_LEVELS - 1), 1e-12)
    place = torch.linspace(-0.5, 0.5, values.numel())
    spread = place[torch.randperm(values.numel(), generator=torch.Generator().manual_seed(0))]
    return _rounded(values, low, high) + spread * step


RANGES: Final[Mapping[Range, Callable[[Sequence[Tensor]], tuple[float, float]]]] = {
    Range.MIN_MAX: _everything,
    Range.PERCENTILE: _percentile,
    Range.MSE: _least_squares,
    Range.ENTROPY: _least_divergence,
}
"""From what is kept of each calibration sample, one dimension, to the lowest and highest value that has a level."""

SHIPPED: Final = Range.PERCENTILE
"""How artifacts are built: a few values in a thousand are clipped, and all others are rounded to finer steps."""


@cache
def places(values: int, most: int = KEPT) -> Tensor:
    """Return which values of a flat tensor are kept, in order.

    One is drawn from each of as many equal stretches. Even steps would meet the same columns of a map in every row:
    1024 of a map 512 wide see nothing but its left edge.

    Parameters
    ----------
    values
        Elements of the tensor.
    most
        As many are kept.

    Returns
    -------
    Tensor
        Indices, int64, the same ones every time; of all elements where there are no more.
    """
    if values <= most:
        return torch.arange(values)
    drawn = (np.arange(most) + np.random.default_rng(most).random(most)) * values / most
    return torch.from_numpy(np.minimum(drawn.astype(np.int64), values - 1))


def range_of(choose: Range, kept: Sequence[Tensor], values: int) -> tuple[float, float]:
    """Return the range of an activation.

    Parameters
    ----------
    choose
        How.
    kept
        Values of each calibration sample, one dimension, its extremes among them.
    values
        Elements of the activation in one sample.

    Returns
    -------
    tuple of float
        Lowest and highest value that has a level, 0 between them, with the room that few values need.
    """
    low, high = RANGES[choose](kept)
    return widened(low, high, room_for(values))


def _weighed(samples: Sequence[Tensor]) -> Tensor:
    values = torch.cat(list(samples))
    return torch.cat([values[places(len(values), _WEIGHED)], torch.tensor(_everything(samples))])


HEADROOM: Final = 2.0
"""How far 16-bit ranges reach beyond what calibration saw: of 16 bits it costs one.

A value beyond its range is clipped, and a decoder meets such values in any text that is longer than those seen.
"""

_FEW: Final = 1024
_ROOM: Final = 1.5


def room_for(values: int) -> float:
    """Return how much wider than what was seen the range of an 8-bit activation must be.

    A map of features shows tens of thousands of values in each sample, and few of the next photo's lie beyond them. A
    vector that conditions a network shows dozens: the next photo's are often beyond, and are clipped for all of the
    picture. Half as much again costs such a vector less than a bit, and maps do without it: they would pay as much.

    Parameters
    ----------
    values
        Elements of the activation in one sample.

    Returns
    -------
    float
        What both ends of its range are multiplied by: 1.5 below 1024 values, else 1.
    """
    return _ROOM if values < _FEW else 1.0


def widened(low: float, high: float, room: float) -> tuple[float, float]:
    """Return a range that holds 0, each end ``room`` times as far from it."""
    return min(low, 0) * room, max(high, 0) * room
