"""Integer weights in groups along the input axis: levels of few bits, and for each group a scale, or an offset too."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pocketcrafter.runtime.errors import ConfigError

GROUP_SIZE: Final = 32
"""The group size of shipped artifacts; every target supports it."""

_SHRINKS: Final = torch.linspace(1.0, 0.6, 21, dtype=torch.float64)
"""Shares of a group's largest magnitude that a scale may cover: clipping an outlier can cost less than coarse steps."""

_ON_GRID: Final = 0.02
"""How far weights that lie on a grid may be from it, as a share of its step: the grid's own numbers were rounded."""

_ROWS: Final = 4096
"""Rows that are compared with a grid at once: it takes some thirty times their memory."""

_SYMMETRIC: Final = 8
"""Bits of grids without offsets."""

_FLOOR_IMPORTANCE: Final = 0.5
"""Share of the mean importance added to that of every input."""


@dataclass(frozen=True)
class IntegerFormat:
    """The integers and scales that a target stores weights as.

    Attributes
    ----------
    bits
        2, 4 or 8.
    group_size
        Consecutive inputs that share a scale.
    positive_scales
        Whether scales must be positive; a negative one maps the largest magnitude, whatever its sign, to the lowest
        level, which is one further from 0 than the highest.
    bfloat16_scales
        Whether scales must be bfloat16 numbers.
    """

    bits: int
    group_size: int = GROUP_SIZE
    positive_scales: bool = False
    bfloat16_scales: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest level."""
        return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1


@dataclass(frozen=True)
class Blocks:
    """A weight matrix as integer levels.

    Attributes
    ----------
    levels
        ``(N, K)``, int8, in ``[-2^(bits-1), 2^(bits-1) - 1]``.
    scales
        ``(N, K / group size)``, float32, of either sign.
    bits
        2, 4 or 8.
    offsets
        What is added to all weights of a group, ``(N, K / group size)``, float16 numbers in float32; `None` for none.
    """

    levels: Tensor
    scales: Tensor
    bits: int
    offsets: Tensor | None = None

    @property
    def group_size(self) -> int:
        """Inputs that share a scale."""
        return self.levels.shape[1] // self.scales.shape[1]

    def weight(self) -> Tensor:
        """Return the dequantized matrix, ``(N, K)``, float32."""
        weight = self.levels.float() * self.scales.repeat_interleave(self.group_size, 1)
        return weight if self.offsets is None else weight + self.offsets.repeat_interleave(self.group_size, 1)

    @property
    def has_float16_scales(self) -> bool:
        """Whether float16 holds every scale exactly, as it does bfloat16 numbers within its range."""
        return bool((self.scales.half().float() == self.scales).all())

    @property
    def size(self) -> int:
        """Bytes of levels and scales as they are stored."""
        steps = (2 if self.has_float16_scales else 4) + (0 if self.offsets is None else 2)
        return self.levels.numel() * self.bits // 8 + steps * self.scales.numel()


def as_stored(weight: Tensor, integers: IntegerFormat) -> Blocks | None:
    """Return the levels of weights that lie on a grid of so many levels already, with scales in float16.

    Of 8 bits it is symmetric, as that of a GGUF file in Q8_0; of fewer it lies between each group's least and largest,
    as in Q4_1, and without its offsets the weights would be rounded a second time.

    Parameters
    ----------
    weight
        ``(N, K)``, floating; K a multiple of the group size.
    integers
        Levels and groups.

    Returns
    -------
    Blocks or None
        With offsets, in float16 too, where the grid has them; `None` where a weight lies between two levels.
    """
    made = []
    for rows in torch.split(weight, _ROWS):
        if (stored := _stored(rows, integers)) is None:
            return None
        made.append(stored)
    offsets = [one.offsets for one in made if one.offsets is not None]
    levels, scales = (torch.cat(parts) for parts in zip(*((one.levels, one.scales) for one in made), strict=True))
    return Blocks(levels, scales, integers.bits, torch.cat(offsets) if offsets else None)


def _stored(weight: Tensor, integers: IntegerFormat) -> Blocks | None:
    lowest, highest = integers.limits
    symmetric = integers.bits == _SYMMETRIC
    groups = weight.double().reshape(weight.shape[0], -1, integers.group_size)
    least = torch.zeros_like(groups[..., 0]) if symmetric else groups.amin(2)
    largest, most = (groups.abs().amax(2), highest) if symmetric else (groups.amax(2) - least, highest - lowest)
    scales = (largest / most).half().double()
    if ((scales == 0) & (largest > 0)).any():
        return None
    # A group of equal values has no step.
    steps = scales.where(scales > 0, torch.ones_like(scales))[..., None]
    levels = ((groups - least[..., None]) / steps).round_()
    missed = (levels * steps).add_(least[..., None]).sub_(groups).abs_() / steps
    if float(missed.max()) > _ON_GRID or float(levels.max()) > most:
        return None
    offsets = None if symmetric else (least - lowest * scales).half().float()
    levels = levels if symmetric else levels + lowest
    return Blocks(levels.to(torch.int8).reshape(weight.shape), scales.float(), integers.bits, offsets)


def round_to_nearest(weight: Tensor, integers: IntegerFormat, importance: Tensor | None = None) -> Blocks:
    """Round each weight to the nearest level; each group's scale is the one with the least squared error.

    Parameters
    ----------
    weight
        ``(N, K)``, floating; K a multiple of the group size.
    integers
        Levels and scales to round to.
    importance
        Weight of each input in the squared error, ``(K,)``, not negative, such as its mean square; uniform by default.

    Raises
    ------
    ConfigError
        If K is no multiple of the group size, or a weight is not finite.
    """
    scales = scales_for(weight, integers, importance)
    steps = scales.repeat_interleave(integers.group_size, 1)
    levels = (weight.double() / steps.double()).round().clamp(*integers.limits)
    return Blocks(levels.to(torch.int8), scales, integers.bits)


def scales_for(weight: Tensor, integers: IntegerFormat, importance: Tensor | None = None) -> Tensor:
    """Return the scales of `round_to_nearest`, ``(N, K / group size)``, float32, never 0.

    Parameters
    ----------
    weight
        ``(N, K)``, floating point.
    integers
        Bits, group size, and what scales may be.
    importance
        Of each input, ``(K,)``, at least 0: weights its squared error. All alike when `None`.

    Raises
    ------
    ConfigError
        If K is no multiple of the group size, or a weight is not finite.
    """
    rows, columns = weight.shape
    size = integers.group_size
    if columns % size:
        raise ConfigError(
            f"A weight of {rows}×{columns} is not divided evenly into groups of {size} inputs: choose a smaller group "
            "size, or keep its module in float32."
        )
    if not torch.isfinite(weight).all():
        raise ConfigError("A weight that is not finite cannot be quantized: train the network again.")
    share = torch.ones(columns, dtype=torch.float64) if importance is None else importance.double()
    # Inputs that calibration never activated, such as rare words, keep some importance: their weights are used later.
    share = (share + _FLOOR_IMPORTANCE * share.mean().clamp(min=1e-12)).reshape(1, -1, size)
    lowest, highest = integers.limits
    groups = weight.double().reshape(rows, -1, size)
    extreme = groups.gather(2, groups.abs().argmax(2, keepdim=True))
    widest = extreme.abs() / -lowest if integers.positive_scales else extreme / lowest
    widest = widest.where(extreme != 0, torch.ones_like(widest))
    best, least = widest, torch.full_like(widest, torch.inf)
    for shrink in _SHRINKS:
        scale = widest * shrink
        scale = scale.to(torch.bfloat16 if integers.bfloat16_scales else torch.float32).double()
        steps = (groups / scale).round_().clamp_(lowest, highest)
        error = steps.mul_(scale).sub_(groups).square_().mul_(share).sum(2, keepdim=True)
        best = torch.where(error < least, scale, best)
        least = torch.minimum(error, least)
    return best[:, :, 0].float()


def packed(blocks: Blocks) -> npt.NDArray[np.uint8]:
    """Return levels as unsigned integers from the lowest level on, ``(N, K · bits / 8)``.

    A byte holds 8 / bits levels, the first in its lowest bits.
    """
    bits = blocks.bits
    levels = (blocks.levels.numpy().astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    count = 8 // bits
    made = np.zeros((levels.shape[0], levels.shape[1] // count), np.uint8)
    for place in range(count):
        made |= levels[:, place::count] << np.uint8(place * bits)
    return made


def unpacked(stored: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.int8]:
    """Return the signed levels, ``(N, K)``, of what `packed` returned."""
    parts = [stored >> shift & (2**bits - 1) for shift in range(0, 8, bits)]
    levels = np.stack(parts, -1).reshape(stored.shape[0], -1).astype(np.int16)
    centered: npt.NDArray[np.int8] = (levels - 2 ** (bits - 1)).astype(np.int8)
    return centered
