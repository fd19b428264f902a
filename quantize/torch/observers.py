"""Observers for PT2E: they choose an activation's range, or stand for a quantization that can be switched off."""

from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor
from torchao.quantization.pt2e import FakeQuantize, MinMaxObserver

from pocketcrafter.quantize.algorithms.ranges import Range, places, range_of

_ROOM: Final = 32
"""Samples that there is room for at first."""


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


def _pair(found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return found
