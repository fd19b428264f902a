"""Integer weights in blocks along the input axis: a few levels and one scale for each block."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pocketcrafter.runtime.errors import ConfigError

BLOCK: Final = 32
"""Weights along the input axis that share a scale."""

_SHRINKS: Final = torch.linspace(1.0, 0.6, 21, dtype=torch.float64)
"""Shares of the largest magnitude that a scale may span: clipping an outlier can cost less than coarse steps."""

_UNSEEN: Final = 0.5
"""Share of the mean importance that every input has beside its own."""


@dataclass(frozen=True)
class Blocks:
    """A weight matrix as integer levels.

    Attributes
    ----------
    levels
        ``(N, K)``, int8, in ``[-2^(bits-1), 2^(bits-1) - 1]``.
    scales
        ``(N, K / BLOCK)``, float32; may be negative, since the lowest level is one further from 0 than the highest.
    bits
        2, 4 or 8.
    """

    levels: Tensor
    scales: Tensor
    bits: int

    def weight(self) -> Tensor:
        """Return the matrix that the levels stand for, ``(N, K)``, float32."""
        return self.levels.float() * self.scales.repeat_interleave(BLOCK, 1)

    @property
    def short(self) -> bool:
        """Whether 16 bits hold each scale: they are float16 numbers, as bfloat16 ones within its range are."""
        return bool((self.scales.half().float() == self.scales).all())

    @property
    def size(self) -> int:
        """Bytes of levels and scales as they are stored."""
        return self.levels.numel() * self.bits // 8 + (2 if self.short else 4) * self.scales.numel()


def nearest(
    weight: Tensor, bits: int, importance: Tensor | None = None, *, positive: bool = False, brief: bool = False
) -> Blocks:
    """Round to the nearest level; each block's scale is the one with the least squared error.

    Parameters
    ----------
    weight
        ``(N, K)``, floating; K a multiple of `BLOCK`.
    bits
        2, 4 or 8.
    importance
        Weight of each input in the error, ``(K,)``, not negative: its mean square, say. All count alike without it.
    positive
        Whether scales must be positive.
    brief
        Whether scales must be bfloat16 numbers.

    Raises
    ------
    ConfigError
        If K is not a multiple of `BLOCK`, or a weight is not finite.
    """
    scales = scales_for(weight, bits, importance, positive=positive, brief=brief)
    steps = scales.repeat_interleave(BLOCK, 1)
    levels = (weight.double() / steps.double()).round().clamp(*limits(bits))
    return Blocks(levels.to(torch.int8), scales, bits)


def scales_for(
    weight: Tensor, bits: int, importance: Tensor | None = None, *, positive: bool = False, brief: bool = False
) -> Tensor:
    """Return the scales that `nearest` uses, ``(N, K / BLOCK)``, float32, never 0; arguments and errors as there."""
    rows, columns = weight.shape
    if columns % BLOCK:
        raise ConfigError(f"A weight of {rows}×{columns} has no whole blocks of {BLOCK} inputs: keep its module wider.")
    if not torch.isfinite(weight).all():
        raise ConfigError("A weight that is not finite cannot be quantized: train the network again.")
    share = torch.ones(columns, dtype=torch.float64) if importance is None else importance.double()
    # An input that calibration never saw (a word, say) counts too: its weight must not be thrown away.
    share = (share + _UNSEEN * share.mean().clamp(min=1e-12)).reshape(1, -1, BLOCK)
    lowest, highest = limits(bits)
    blocks = weight.double().reshape(rows, -1, BLOCK)
    extreme = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
    # The largest magnitude becomes the lowest level, which is one further from 0 than the highest.
    widest = extreme.abs() / -lowest if positive else extreme / lowest
    widest = widest.where(extreme != 0, torch.ones_like(widest))
    best, least = widest, torch.full_like(widest, torch.inf)
    for shrink in _SHRINKS:
        scale = widest * shrink
        scale = scale.to(torch.bfloat16 if brief else torch.float32).double()
        steps = (blocks / scale).round_().clamp_(lowest, highest)
        error = steps.mul_(scale).sub_(blocks).square_().mul_(share).sum(2, keepdim=True)
        best = torch.where(error < least, scale, best)
        least = torch.minimum(error, least)
    return best[:, :, 0].float()


def limits(bits: int) -> tuple[int, int]:
    """Return the lowest and the highest level."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def packed(blocks: Blocks) -> npt.NDArray[np.uint8]:
    """Return levels counted from the lowest, ``(N, K · bits / 8)``; of those in a byte the first is lowest."""
    bits = blocks.bits
    levels = (blocks.levels.numpy().astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    count = 8 // bits
    made = np.zeros((levels.shape[0], levels.shape[1] // count), np.uint8)
    for place in range(count):
        made |= levels[:, place::count] << np.uint8(place * bits)
    return made


def unpacked(stored: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.int8]:
    """Return levels around 0, ``(N, K)``, of what `packed` made."""
    parts = [stored >> shift & (2**bits - 1) for shift in range(0, 8, bits)]
    levels = np.stack(parts, -1).reshape(stored.shape[0], -1).astype(np.int16)
    centered: npt.NDArray[np.int8] = (levels - 2 ** (bits - 1)).astype(np.int8)
    return centered
