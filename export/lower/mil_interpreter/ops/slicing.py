"""Slices, read and written."""

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.ops.arguments import flags, integers, maybe
from pocketcrafter.export.lower.mil_interpreter.registry import op


@op("slice_by_index")
def slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """Read a slice; a squeezed axis is read at its beginning."""
    places = _places(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    for axis, where in enumerate(places):
        x = x.index_select(axis, where)
    return x.squeeze([i for i, dropped in enumerate(flags(squeeze_mask, len(places))) if dropped])


@op("slice_by_size")
def slice_by_size(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """Read a slice of some size; -1 takes all that is left."""
    for axis, (start, length) in enumerate(zip(integers(begin), integers(size), strict=True)):
        first = start % x.shape[axis]
        x = x.narrow(axis, first, x.shape[axis] - first if length == -1 else length)
    return x


@op("slice_update")
def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """Give a copy with a slice written."""
    places = _places(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    changed = x.clone()
    changed[torch.meshgrid(*places, indexing="ij")] = update.reshape([len(where) for where in places])
    return changed


def _places(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None,
    begin_mask: Tensor | None,
    end_mask: Tensor | None,
    squeeze_mask: Tensor | None,
) -> list[Tensor]:
    """Return the places that are read on each axis, under the rules of Python's slices."""
    rank = x.ndim
    rows = zip(
        x.shape,
        integers(begin),
        integers(end),
        maybe(stride, [1] * rank),
        flags(begin_mask, rank),
        flags(end_mask, rank),
        flags(squeeze_mask, rank),
        strict=True,
    )
    return [
        torch.tensor(
            [first % length]
            if dropped
            else range(length)[None if from_start else first : None if to_end else last : step],
            dtype=torch.int64,
        )
        for length, first, last, step, from_start, to_end, dropped in rows
    ]
