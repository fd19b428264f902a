"""Observers for PT2E: one that chooses a range by the configured method, and fake quantization with a switch."""

from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor
from torchao.quantization.pt2e import FakeQuantize, MinMaxObserver

from pocketcrafter.quantize.algorithms.ranges import activation_range, sampled_indices
from pocketcrafter.quantize.config import ActivationRange, MinMax

_INITIAL_SAMPLES: Final = 32
"""Calibration samples that memory is reserved for at first."""


class RangeObserver(MinMaxObserver):  # type: ignore[misc] # torchao is untyped
    """Keeps a sample of the values it observes, and chooses the range from them when it is asked for it.

    Parameters
    ----------
    choose
        The method.
    **settings
        As of torchao's ``MinMaxObserver``.
    """

    def __init__(self, choose: ActivationRange, **settings: Any) -> None:  # noqa: ANN401 - torchao's own
        super().__init__(**settings)
        self.choose = choose
        self._kept = torch.empty(0)
        self._ends = [0]
        self._values = 0

    def forward(self, x: Tensor) -> Tensor:
        """Observe a tensor, and return it."""
        self._values = max(self._values, x.numel())
        if not isinstance(self.choose, MinMax) and x.numel():
            flat = x.detach().reshape(-1)
            extremes = torch.stack([flat.min(), flat.max()])
            self._keep(torch.cat([flat[sampled_indices(flat.numel())], extremes]))
        observed: Tensor = super().forward(x)
        return observed

    def _keep(self, values: Tensor) -> None:
        """Append values to one buffer that doubles when it is full.

        Small tensors allocated between large activations fragment the heap: one gibibyte of activations took four.
        """
        start, end = self._ends[-1], self._ends[-1] + values.numel()
        if end > self._kept.numel():
            larger = torch.empty(max(2 * self._kept.numel(), _INITIAL_SAMPLES * values.numel()))
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
        low, high = activation_range(self.choose, kept, self._values)
        return _pair(self._calculate_qparams(torch.tensor(float(low)), torch.tensor(float(high))))


class SwitchableFakeQuantize(FakeQuantize):  # type: ignore[misc] # likewise
    """Fake quantization that first observes, then has fixed activation ranges and can be switched on and off.

    The scales of weights follow the weights, so that a network can be trained through it.
    """

    def settle(self) -> None:
        """Fix the range of an activation to what was observed, and stop observing."""
        self.disable_observer()
        if not self.is_per_channel:
            self._take(*_pair(self.calculate_qparams()))

    def forward(self, x: Tensor) -> Tensor:
        """Observe, or fake-quantize."""
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
