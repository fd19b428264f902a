"""Operators that move elements and compute nothing: shapes, slices, gathering and scattering."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.export.lower.mil_interpreter.program import MilError
from pocketcrafter.export.lower.mil_interpreter.registry import Arg, flag, flags, integer, integers, maybe, number, op


@op("reshape")
def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    """Change the axes; 0 keeps an axis' length, -1 takes what is left."""
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(integers(shape))])


@op("reshape_like")
def _reshape_like(
    x: Tensor, ref_tensors: tuple[Tensor, ...], begins: Tensor, ends: Tensor, end_masks: Tensor
) -> Tensor:
    """Take the lengths of axes from other tensors."""
    shape: list[int] = []
    references = ref_tensors if isinstance(ref_tensors, tuple) else (ref_tensors,)
    for other, begin, end, whole in zip(references, integers(begins), integers(ends), end_masks.tolist(), strict=True):
        shape += other.shape[begin : None if whole else end]
    return x.reshape(shape)


@op("transpose")
def _transpose(x: Tensor, perm: Tensor) -> Tensor:
    """Permute the axes."""
    return x.permute(integers(perm))


@op("expand_dims")
def _expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    """Add axes of length one; they count in the result."""
    rank = x.ndim + axes.numel()
    for axis in sorted(a % rank for a in integers(axes)):
        x = x.unsqueeze(axis)
    return x


@op("squeeze")
def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Drop axes of length one."""
    return x.squeeze() if axes is None else x.squeeze(integers(axes))


@op("flatten2d")
def _flatten2d(x: Tensor, axis: Arg = 1) -> Tensor:
    """Join the axes before ``axis``, and those from it on."""
    at = integer(axis) % x.ndim if integer(axis) < 0 else integer(axis)
    return x.reshape(int(torch.tensor(x.shape[:at]).prod()), -1)


@op("concat")
def _concat(values: tuple[Tensor, ...], axis: Arg, interleave: Arg = False) -> Tensor:
    """Join along an axis, or take turns along it."""
    along = integer(axis)
    if not flag(interleave):
        return torch.cat(values, along)
    along %= values[0].ndim
    return torch.stack(values, along + 1).flatten(along, along + 1)


@op("stack")
def _stack(values: tuple[Tensor, ...], axis: Arg) -> Tensor:
    """Join along a new axis."""
    return torch.stack(values, integer(axis))


@op("split")
def _split(
    x: Tensor, axis: Arg, num_splits: Tensor | None = None, split_sizes: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Cut an axis into parts."""
    if split_sizes is not None:
        return torch.split_with_sizes(x, integers(split_sizes), integer(axis))
    if num_splits is None:
        raise MilError("split needs num_splits or split_sizes")
    return x.tensor_split(integer(num_splits), integer(axis))


@op("tile")
def _tile(x: Tensor, reps: Tensor) -> Tensor:
    """Repeat along each axis."""
    return x.tile(integers(reps))


@op("reverse")
def _reverse(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Turn axes round."""
    return x.flip(list(range(x.ndim)) if axes is None else integers(axes))


@op("pad")
def _pad(x: Tensor, pad: Tensor, mode: str = "constant", constant_val: Arg = 0.0) -> Tensor:
    """Add places before and after the last axes."""
    flat = integers(pad)
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    if mode == "constant":
        return F.pad(x, [n for pair in reversed(pairs) for n in pair], value=number(constant_val))
    if mode not in {"reflect", "replicate"}:
        raise MilError(f"`{mode}` is no padding mode")
    for axis, (before, after) in enumerate(pairs, start=x.ndim - len(pairs)):
        length = x.shape[axis]
        places = torch.arange(-before, length + after)
        last = length - 1
        places = places.clamp(0, last) if mode == "replicate" else last - (last - places.abs()).abs()
        x = x.index_select(axis, places)
    return x


@op("pixel_shuffle")
def _pixel_shuffle(x: Tensor, upscale_factor: Arg) -> Tensor:
    """Move channels into space, a channel's places following each other."""
    return F.pixel_shuffle(x, integer(upscale_factor))


@op("pixel_unshuffle")
def _pixel_unshuffle(x: Tensor, downscale_factor: Arg) -> Tensor:
    """Move space into channels; undoes `pixel_shuffle`."""
    return F.pixel_unshuffle(x, integer(downscale_factor))


@op("depth_to_space")
def _depth_to_space(x: Tensor, block_size: Arg) -> Tensor:
    """Move channels into space, a place's channels following each other."""
    batch, channels, height, width = x.shape
    b = integer(block_size)
    blocks = x.reshape(batch, b, b, channels // b**2, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // b**2, height * b, width * b)


@op("space_to_depth")
def _space_to_depth(x: Tensor, block_size: Arg) -> Tensor:
    """Move space into channels; undoes `depth_to_space`."""
    batch, channels, height, width = x.shape
    b = integer(block_size)
    blocks = x.reshape(batch, channels, height // b, b, width // b, b)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * b**2, height // b, width // b)


@op("slice_by_index")
def _slice_by_index(
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
def _slice_by_size(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """Read a slice of some size; -1 takes all that is left."""
    for axis, (start, length) in enumerate(zip(integers(begin), integers(size), strict=True)):
        first = start % x.shape[axis]
        x = x.narrow(axis, first, x.shape[axis] - first if length == -1 else length)
    return x


@op("slice_update")
def _slice_update(
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


_WRITES: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
    "min": torch.minimum,
    "update": lambda _, new: new,
}


@op("gather")
def _gather(x: Tensor, indices: Tensor, axis: Arg = 0, batch_dims: Arg = 0, validate_indices: Arg = False) -> Tensor:
    """Read whole slices along an axis; the first ``batch_dims`` axes go together."""
    del validate_indices
    along, batch = integer(axis) % x.ndim, integer(batch_dims)
    if batch:
        each = zip(x.flatten(0, batch - 1), indices.flatten(0, batch - 1), strict=True)
        read = torch.stack([_gather(one, where, along - batch) for one, where in each])
        return read.reshape(*x.shape[:batch], *read.shape[1:])
    read = x.index_select(along, _positive(indices, x.shape[along]).flatten())
    return read.reshape(*x.shape[:along], *indices.shape, *x.shape[along + 1 :])


@op("gather_along_axis")
def _gather_along_axis(x: Tensor, indices: Tensor, axis: Arg = 0, validate_indices: Arg = False) -> Tensor:
    """Read one value for each index."""
    del validate_indices
    along = integer(axis) % x.ndim
    return x.take_along_dim(_positive(indices, x.shape[along]), along)


@op("gather_nd")
def _gather_nd(x: Tensor, indices: Tensor, batch_dims: Arg = 0, validate_indices: Arg = False) -> Tensor:
    """Read slices, each index naming several axes."""
    del validate_indices
    if integer(batch_dims):
        each = zip(x, indices, strict=True)
        return torch.stack([_gather_nd(one, where, integer(batch_dims) - 1) for one, where in each])
    return x[_coordinates(x, indices)]


@op("scatter")
def _scatter(
    data: Tensor, indices: Tensor, updates: Tensor, axis: Arg = 0, mode: str = "add", validate_indices: Arg = False
) -> Tensor:
    """Write whole slices along an axis, one after the other."""
    del validate_indices
    along = integer(axis) % data.ndim
    written = data.movedim(along, 0).clone()
    rank = indices.ndim
    new = updates.flatten(along, along + rank - 1).movedim(along, 0) if rank else updates[None]
    for place, value in zip(_positive(indices, data.shape[along]).flatten().tolist(), new, strict=True):
        written[place] = _write(mode)(written[place], value)
    return written.movedim(0, along)


@op("scatter_along_axis")
def _scatter_along_axis(
    data: Tensor, indices: Tensor, updates: Tensor, axis: Arg = 0, mode: str = "add", validate_indices: Arg = False
) -> Tensor:
    """Write one value for each index."""
    del validate_indices
    along = integer(axis) % data.ndim
    where = _positive(indices, data.shape[along])
    if mode == "update":
        return data.scatter(along, where, updates)
    reductions = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    if mode not in reductions:
        raise MilError(f"scatter_along_axis cannot `{mode}` here")
    return data.scatter_reduce(along, where, updates, reductions[mode])


@op("scatter_nd")
def _scatter_nd(
    data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add", validate_indices: Arg = False
) -> Tensor:
    """Write slices, each index naming several axes, one after the other."""
    del validate_indices
    written, depth = data.clone(), indices.shape[-1]
    new = updates.reshape(-1, *data.shape[depth:])
    for place, value in zip(indices.reshape(-1, depth).tolist(), new, strict=True):
        written[tuple(place)] = _write(mode)(written[tuple(place)], value)
    return written


def _write(mode: str) -> Callable[[Tensor, Tensor], Tensor]:
    if mode not in _WRITES:
        raise MilError(f"`{mode}` is no way to scatter")
    return _WRITES[mode]


def _positive(indices: Tensor, length: int) -> Tensor:
    return torch.where(indices < 0, indices + length, indices)


def _coordinates(x: Tensor, indices: Tensor) -> tuple[Tensor, ...]:
    return tuple(_positive(where, x.shape[axis]) for axis, where in enumerate(indices.unbind(-1)))
