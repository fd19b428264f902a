"""Reading and writing by index."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.errors import MilError
from pocketcrafter.export.lower.mil_interpreter.ops.arguments import Arg, integer
from pocketcrafter.export.lower.mil_interpreter.registry import op

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
def gather(x: Tensor, indices: Tensor, axis: Arg = 0, batch_dims: Arg = 0, validate_indices: Arg = False) -> Tensor:
    """Read whole slices along an axis; the first ``batch_dims`` axes go together."""
    del validate_indices
    along, batch = integer(axis) % x.ndim, integer(batch_dims)
    if batch:
        each = zip(x.flatten(0, batch - 1), indices.flatten(0, batch - 1), strict=True)
        read = torch.stack([gather(one, where, along - batch) for one, where in each])
        return read.reshape(*x.shape[:batch], *read.shape[1:])
    read = x.index_select(along, _positive(indices, x.shape[along]).flatten())
    return read.reshape(*x.shape[:along], *indices.shape, *x.shape[along + 1 :])


@op("gather_along_axis")
def gather_along_axis(x: Tensor, indices: Tensor, axis: Arg = 0, validate_indices: Arg = False) -> Tensor:
    """Read one value for each index."""
    del validate_indices
    along = integer(axis) % x.ndim
    return x.take_along_dim(_positive(indices, x.shape[along]), along)


@op("gather_nd")
def gather_nd(x: Tensor, indices: Tensor, batch_dims: Arg = 0, validate_indices: Arg = False) -> Tensor:
    """Read slices, each index naming several axes."""
    del validate_indices
    if integer(batch_dims):
        each = zip(x, indices, strict=True)
        return torch.stack([gather_nd(one, where, integer(batch_dims) - 1) for one, where in each])
    return x[_coordinates(x, indices)]


@op("scatter")
def scatter(
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
def scatter_along_axis(
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
def scatter_nd(
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
