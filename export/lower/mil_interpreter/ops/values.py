"""Operators that bring values in: constants, compressed weights, and states that outlive a run.

Compressed weights are decoded from their definitions and not by coremltools. Two generations share names: iOS 16 packs
indices and masks into bytes and gives the shape apart; iOS 18 has element types below a byte, and blocks.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.package import decode
from pocketcrafter.export.lower.mil_interpreter.program import DeclaredTypeError, DType, Kind, MilError
from pocketcrafter.export.lower.mil_interpreter.registry import Arg, axis_shape, flag, integer, integers, op


@op("const")
def _const(val: Any) -> Any:  # noqa: ANN401 - a tensor, a string, a list
    """Give what the program holds."""
    return val


@op("fill")
def _fill(shape: Tensor, value: Tensor) -> Tensor:
    """Repeat one value."""
    return torch.full(integers(shape), value.item(), dtype=value.dtype)


@op("fill_like")
def _fill_like(ref_tensor: Tensor, value: Tensor) -> Tensor:
    """Repeat one value in another tensor's shape."""
    return torch.full(ref_tensor.shape, value.item(), dtype=value.dtype)


@op("range_1d")
def _range_1d(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    """Count from ``start`` to below ``end``."""
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


@op("shape")
def _shape(x: Tensor) -> Tensor:
    """Give the lengths of the axes."""
    return torch.tensor(x.shape, dtype=torch.int64)


@op("one_hot")
def _one_hot(
    indices: Tensor, one_hot_vector_size: Arg, axis: Arg = -1, on_value: Arg = 1, off_value: Arg = 0
) -> Tensor:
    """Mark each index on a new axis; a negative index marks nothing."""
    place = torch.arange(integer(one_hot_vector_size))
    hot = torch.where(indices[..., None] == place, torch.as_tensor(on_value), torch.as_tensor(off_value))
    return hot.movedim(-1, integer(axis))


@op("band_part")
def _band_part(x: Tensor, lower: Arg = -1, upper: Arg = -1) -> Tensor:
    """Keep the diagonals from ``-lower`` to ``upper``; negative keeps all on that side."""
    rows, columns = torch.arange(x.shape[-2])[:, None], torch.arange(x.shape[-1])[None]
    kept = torch.ones(x.shape[-2:], dtype=torch.bool)
    if integer(lower) >= 0:
        kept &= rows - columns <= integer(lower)
    if integer(upper) >= 0:
        kept &= columns - rows <= integer(upper)
    return x * kept.to(x.dtype)


@op("cumsum")
def _cumsum(x: Tensor, axis: Arg = 0, exclusive: Arg = False, reverse: Arg = False) -> Tensor:
    """Add up along an axis."""
    along = integer(axis)
    turned = x.flip(along) if flag(reverse) else x
    summed = turned.cumsum(along) - (turned if flag(exclusive) else 0)
    return summed.flip(along) if flag(reverse) else summed


@op("constexpr_cast")
def _constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    """Give floats kept in a shorter type."""
    del output_dtype
    return source_val


@op("constexpr_affine_dequantize")
def _constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Arg) -> Tensor:
    """``scale·(data − zero_point)``, for the whole tensor or along one axis."""
    rank, along = quantized_data.ndim, integer(axis)
    offset, factor = (axis_shape(t, rank, along) if t.numel() > 1 else t for t in (zero_point, scale))
    return (quantized_data - offset).float() * factor


@op("constexpr_blockwise_shift_scale")
def _constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """``scale·(data − offset)``, each block of the tensor with its own."""
    factor = _spread(scale, data.shape)
    return (data if offset is None else data - _spread(offset, data.shape)).float() * factor


@op("constexpr_lut_to_dense")
def _constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, vector_axis: Tensor | None = None, shape: Tensor | None = None
) -> Tensor:
    """Look values up in a palette."""
    if shape is None:
        return _looked_up(indices, lut, vector_axis)
    bits = int(math.log2(lut.numel()))
    lengths = integers(shape)
    raw = indices.numpy().astype(np.uint8)
    return lut[decode(raw, DType(f"uint{bits}", Kind.INTEGER, bits, signed=False), math.prod(lengths))].reshape(lengths)


@op("constexpr_sparse_to_dense")
def _constexpr_sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: Tensor | None = None) -> Tensor:
    """Put values where a mask has ones, and zeros elsewhere."""
    if shape is not None:
        lengths = integers(shape)
        raw = mask.numpy().astype(np.uint8)
        mask = decode(raw, DType("uint1", Kind.INTEGER, 1, signed=False), math.prod(lengths)).reshape(lengths)
    return _dense(mask, nonzero_data)


@op("constexpr_lut_to_sparse")
def _constexpr_lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Look the values of a sparse tensor up; it stays sparse."""
    if lut.shape[-1] != 1:
        raise MilError("palettes of vectors in a sparse tensor cannot be interpreted")
    dense = _looked_up(_dense(indices_mask, indices_nonzero_data), lut, vector_axis)
    return indices_mask, dense[indices_mask.bool()]


@op("constexpr_sparse_blockwise_shift_scale")
def _constexpr_sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Shift and scale the values of a sparse tensor; it stays sparse."""
    dense = _constexpr_blockwise_shift_scale(_dense(data_mask, nonzero_data), scale, offset)
    return data_mask, dense[data_mask.bool()]


def _spread(values: Tensor, shape: torch.Size) -> Tensor:
    """Repeat block values so that each element has its own."""
    if values.ndim != len(shape) or any(n % m for n, m in zip(shape, values.shape, strict=True)):
        raise MilError(f"blocks of {list(values.shape)} do not divide a tensor of {list(shape)}")
    for axis, (n, m) in enumerate(zip(shape, values.shape, strict=True)):
        values = values.repeat_interleave(n // m, axis)
    return values


def _looked_up(indices: Tensor, lut: Tensor, vector_axis: Tensor | None) -> Tensor:
    palettes, vector = lut.shape[-2:]
    if lut.ndim != indices.ndim + 2:
        raise MilError(f"a palette of rank {lut.ndim} does not fit indices of rank {indices.ndim}")
    each = _spread(lut, torch.Size([*indices.shape, palettes, vector]))
    values = each.gather(-2, indices[..., None, None].expand(*indices.shape, 1, vector)).squeeze(-2)
    if vector == 1:
        return values.squeeze(-1)
    if vector_axis is None:
        raise MilError("a palette of vectors needs vector_axis")
    along = integer(vector_axis) % indices.ndim
    return values.movedim(-1, along + 1).flatten(along, along + 1)


def _dense(mask: Tensor, values: Tensor) -> Tensor:
    full = torch.zeros(mask.shape, dtype=values.dtype)
    where = mask.bool()
    if int(where.sum()) != values.numel():
        raise MilError(f"a mask with {int(where.sum())} ones does not fit {values.numel()} values")
    full[where] = values.flatten()
    return full


@dataclass
class State:
    """What one state holds now."""

    value: Tensor


@op("read_state")
def _read_state(input: State) -> Tensor:  # noqa: A002 - MIL's own parameter name
    """Give what the state holds."""
    return input.value.clone()


@op("write_state")
def _write_state(input: State, data: Tensor) -> tuple[()]:  # noqa: A002 - MIL's own parameter name
    """Replace what the state holds."""
    if data.shape != input.value.shape:
        raise DeclaredTypeError(f"a state of shape {list(input.value.shape)} is written with {list(data.shape)}")
    input.value = data.clone()
    return ()
