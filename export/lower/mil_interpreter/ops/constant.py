"""Constants and what is made from nothing but a shape."""

from typing import Any

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.ops.arguments import Arg, flag, integer, integers
from pocketcrafter.export.lower.mil_interpreter.registry import op


@op("const")
def const(val: Any) -> Any:  # noqa: ANN401 - a tensor, a string, a list
    """Give what the program holds."""
    return val


@op("fill")
def fill(shape: Tensor, value: Tensor) -> Tensor:
    """Repeat one value."""
    return torch.full(integers(shape), value.item(), dtype=value.dtype)


@op("fill_like")
def fill_like(ref_tensor: Tensor, value: Tensor) -> Tensor:
    """Repeat one value in another tensor's shape."""
    return torch.full(ref_tensor.shape, value.item(), dtype=value.dtype)


@op("range_1d")
def range_1d(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    """Count from ``start`` to below ``end``."""
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


@op("shape")
def shape(x: Tensor) -> Tensor:
    """Give the lengths of the axes."""
    return torch.tensor(x.shape, dtype=torch.int64)


@op("one_hot")
def one_hot(indices: Tensor, one_hot_vector_size: Arg, axis: Arg = -1, on_value: Arg = 1, off_value: Arg = 0) -> Tensor:
    """Mark each index on a new axis; a negative index marks nothing."""
    place = torch.arange(integer(one_hot_vector_size))
    hot = torch.where(indices[..., None] == place, torch.as_tensor(on_value), torch.as_tensor(off_value))
    return hot.movedim(-1, integer(axis))


@op("band_part")
def band_part(x: Tensor, lower: Arg = -1, upper: Arg = -1) -> Tensor:
    """Keep the diagonals from ``-lower`` to ``upper``; negative keeps all on that side."""
    rows, columns = torch.arange(x.shape[-2])[:, None], torch.arange(x.shape[-1])[None]
    kept = torch.ones(x.shape[-2:], dtype=torch.bool)
    if integer(lower) >= 0:
        kept &= rows - columns <= integer(lower)
    if integer(upper) >= 0:
        kept &= columns - rows <= integer(upper)
    return x * kept.to(x.dtype)


@op("cumsum")
def cumsum(x: Tensor, axis: Arg = 0, exclusive: Arg = False, reverse: Arg = False) -> Tensor:
    """Add up along an axis."""
    along = integer(axis)
    turned = x.flip(along) if flag(reverse) else x
    summed = turned.cumsum(along) - (turned if flag(exclusive) else 0)
    return summed.flip(along) if flag(reverse) else summed
