"""How an activation's range is chosen from what calibration saw: all of it, or less where clipping costs less."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torchao.quantization.pt2e import FakeQuantize, MinMaxObserver

from pocketcrafter.quantize.calibration import room_for, widened

_LEVELS: Final = 256
KEPT: Final = 8192
"""Values that are kept of each calibration sample, spread over the tensor."""
_ROOM: Final = 32
"""Samples that there is room for at first."""
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


class RangeObserver(MinMaxObserver):  # type: ignore[misc] # torchao is untyped
    """Keeps a sample of what it sees, and chooses the range when it is asked, with room where it sees few values.

    Parameters
    ----------
    choose
        How.
    **settings
        As of torchao's ``MinMaxObserver``.
    """

    def __init__(self, choose: Range, **settings: Any) -> None:  # noqa: ANN401 - torchao's own
        super().__init__(**settings)
        self.choose = choose
        self._kept = torch.empty(0)
        self._ends = [0]
        self._values = 0

    def forward(self, x: Tensor) -> Tensor:
        """Look at a tensor, and return it."""
        self._values = max(self._values, x.numel())
        if self.choose is not Range.MIN_MAX and x.numel():
            flat = x.detach().reshape(-1)
            extremes = torch.stack([flat.min(), flat.max()])
            self._keep(torch.cat([flat[places(flat.numel())], extremes]))
        seen: Tensor = super().forward(x)
        return seen

    def _keep(self, values: Tensor) -> None:
        """Add to what is kept, in room for many samples: small pieces between large activations would break memory up.

        A gibibyte of activations took four that way.
        """
        start, end = self._ends[-1], self._ends[-1] + values.numel()
        if end > self._kept.numel():
            larger = torch.empty(max(2 * self._kept.numel(), _ROOM * values.numel()))
            larger[:start] = self._kept[:start]
            self._kept = larger
        self._kept[start:end] = values
        self._ends.append(end)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point of the chosen range."""
        if not self._values:
            return _pair(super().calculate_qparams())
        kept = [self._kept[start:end] for start, end in pairwise(self._ends)]
        if not kept:
            kept = [torch.stack([self.min_val, self.max_val])]
        low, high = range_of(self.choose, kept, self._values)
        return _pair(self._calculate_qparams(torch.tensor(float(low)), torch.tensor(float(high))))


class Switch(FakeQuantize):  # type: ignore[misc] # likewise
    """Fake quantization that only looks until it is settled, and can then be switched on and off.

    The scales of weights follow them, so that a network can be trained through it.
    """

    def settle(self) -> None:
        """Take the range of what was seen, and stop looking."""
        self.disable_observer()
        if not self.is_per_channel:
            self._take(*_pair(self.calculate_qparams()))

    def forward(self, x: Tensor) -> Tensor:
        """Look, or round."""
        if self.observer_enabled[0]:
            self.activation_post_process(x.detach())
            return x
        if self.is_per_channel and self.fake_quant_enabled[0]:
            self.activation_post_process.reset_min_max_vals()
            self.activation_post_process(x.detach())
            self._take(*_pair(self.calculate_qparams()))
        rounded: Tensor = super().forward(x)
        return rounded

    def _take(self, scale: Tensor, zero_point: Tensor) -> None:
        self.scale, self.zero_point = scale.detach(), zero_point.detach().int()


def _weighed(samples: Sequence[Tensor]) -> Tensor:
    values = torch.cat(list(samples))
    return torch.cat([values[places(len(values), _WEIGHED)], torch.tensor(_everything(samples))])


def _pair(found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return found
