"""What moves values without changing them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.export.lower.mil_interpreter.errors import MilError
from pocketcrafter.export.lower.mil_interpreter.ops.arguments import Arg, flag, integer, integers, number
from pocketcrafter.export.lower.mil_interpreter.registry import op


@op("reshape")
def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """Change the axes; 0 keeps an axis' length, -1 takes what is left."""
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(integers(shape))])


@op("reshape_like")
def reshape_like(x: Tensor, ref_tensors: tuple[Tensor, ...], begins: Tensor, ends: Tensor, end_masks: Tensor) -> Tensor:
    """Take the lengths of axes from other tensors."""
    shape: list[int] = []
    references = ref_tensors if isinstance(ref_tensors, tuple) else (ref_tensors,)
    for other, begin, end, whole in zip(references, integers(begins), integers(ends), end_masks.tolist(), strict=True):
        shape += other.shape[begin : None if whole else end]
    return x.reshape(shape)


@op("transpose")
def transpose(x: Tensor, perm: Tensor) -> Tensor:
    """Permute the axes."""
    return x.permute(integers(perm))


@op("expand_dims")
def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    """Add axes of length one; they count in the result."""
    rank = x.ndim + axes.numel()
    for axis in sorted(a % rank for a in integers(axes)):
        x = x.unsqueeze(axis)
    return x


@op("squeeze")
def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Drop axes of length one."""
    return x.squeeze() if axes is None else x.squeeze(integers(axes))


@op("flatten2d")
def flatten2d(x: Tensor, axis: Arg = 1) -> Tensor:
    """Join the axes before ``axis``, and those from it on."""
    at = integer(axis) % x.ndim if integer(axis) < 0 else integer(axis)
    return x.reshape(int(torch.tensor(x.shape[:at]).prod()), -1)


@op("concat")
def concat(values: tuple[Tensor, ...], axis: Arg, interleave: Arg = False) -> Tensor:
    """Join along an axis, or take turns along it."""
    along = integer(axis)
    if not flag(interleave):
        return torch.cat(values, along)
    along %= values[0].ndim
    return torch.stack(values, along + 1).flatten(along, along + 1)


@op("stack")
def stack(values: tuple[Tensor, ...], axis: Arg) -> Tensor:
    """Join along a new axis."""
    return torch.stack(values, integer(axis))


@op("split")
def split(
    x: Tensor, axis: Arg, num_splits: Tensor | None = None, split_sizes: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Cut an axis into parts."""
    if split_sizes is not None:
        return torch.split_with_sizes(x, integers(split_sizes), integer(axis))
    if num_splits is None:
        raise MilError("split needs num_splits or split_sizes")
    return x.tensor_split(integer(num_splits), integer(axis))


@op("tile")
def tile(x: Tensor, reps: Tensor) -> Tensor:
    """Repeat along each axis."""
    return x.tile(integers(reps))


@op("reverse")
def reverse(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Turn axes round."""
    return x.flip(list(range(x.ndim)) if axes is None else integers(axes))


@op("pad")
def pad(x: Tensor, pad: Tensor, mode: str = "constant", constant_val: Arg = 0.0) -> Tensor:
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
def pixel_shuffle(x: Tensor, upscale_factor: Arg) -> Tensor:
    """Move channels into space, a channel's places following each other."""
    return F.pixel_shuffle(x, integer(upscale_factor))


@op("pixel_unshuffle")
def pixel_unshuffle(x: Tensor, downscale_factor: Arg) -> Tensor:
    """Move space into channels; undoes `pixel_shuffle`."""
    return F.pixel_unshuffle(x, integer(downscale_factor))


@op("depth_to_space")
def depth_to_space(x: Tensor, block_size: Arg) -> Tensor:
    """Move channels into space, a place's channels following each other."""
    batch, channels, height, width = x.shape
    b = integer(block_size)
    blocks = x.reshape(batch, b, b, channels // b**2, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // b**2, height * b, width * b)


@op("space_to_depth")
def space_to_depth(x: Tensor, block_size: Arg) -> Tensor:
    """Move space into channels; undoes `depth_to_space`."""
    batch, channels, height, width = x.shape
    b = integer(block_size)
    blocks = x.reshape(batch, channels, height // b, b, width // b, b)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * b**2, height // b, width // b)
