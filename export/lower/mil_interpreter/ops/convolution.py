"""Operators over windows: convolutions and matrix products, pooling, resizing."""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.export.lower.mil_interpreter.program import MilError
from pocketcrafter.export.lower.mil_interpreter.registry import Arg, flag, integer, integers, maybe, number, op

_CONVOLVE: Final = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: Final = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@op("conv")
def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Tensor | None = None,
    pad_type: str = "valid",
    pad: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Arg = 1,
) -> Tensor:
    """Convolve ``(N, C, …)`` with ``(out, C / groups, …)``."""
    kernel = list(weight.shape[2:])
    rank = len(kernel)
    step, spread = maybe(strides, [1] * rank), maybe(dilations, [1] * rank)
    edges = _padding(pad_type, pad, list(x.shape[2:]), kernel, step, spread)
    padded = F.pad(x, _torch_padding(edges)) if any(map(any, edges)) else x
    return _CONVOLVE[rank](padded, weight, bias, step, 0, spread, integer(groups))


@op("conv_transpose")
def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Tensor | None = None,
    output_shape: Tensor | None = None,
    pad_type: str = "valid",
    strides: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Arg = 1,
) -> Tensor:
    """Spread each value of ``(N, C, …)`` by ``(C, out / groups, …)``, then cut the padding off."""
    kernel = list(weight.shape[2:])
    rank = len(kernel)
    step, spread = maybe(strides, [1] * rank), maybe(dilations, [1] * rank)
    whole = _TRANSPOSED[rank](x, weight, None, step, 0, 0, integer(groups), spread)
    custom = pad_type == "custom" and pad is not None
    cut = _pairs(integers(pad)) if custom and pad is not None else [(0, 0)] * rank
    if output_shape is not None:
        lengths = integers(output_shape)[-rank:]
    elif pad_type.startswith("same"):
        lengths = [n * s for n, s in zip(x.shape[2:], step, strict=True)]
    else:
        lengths = [n - before - after for n, (before, after) in zip(whole.shape[2:], cut, strict=True)]
    if pad_type.startswith("same"):
        cut = [_split(max(n - m, 0), pad_type) for n, m in zip(whole.shape[2:], lengths, strict=True)]
    for axis, (length, (before, _)) in enumerate(zip(lengths, cut, strict=True), start=2):
        missing = before + length - whole.shape[axis]
        if missing > 0:  # an output padding: places that no input reaches
            whole = F.pad(whole, [0, 0] * (whole.ndim - 1 - axis) + [0, missing])
        whole = whole.narrow(axis, before, length)
    return whole if bias is None else whole + bias.reshape(1, -1, *[1] * rank)


@op("linear")
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply the last axis by ``(out, in)`` transposed."""
    return F.linear(x, weight, bias)


@op("matmul")
def _matmul(x: Tensor, y: Tensor, transpose_x: Arg = False, transpose_y: Arg = False) -> Tensor:
    """Multiply the last two axes as matrices."""
    left = x.transpose(-1, -2) if flag(transpose_x) and x.ndim > 1 else x
    right = y.transpose(-1, -2) if flag(transpose_y) and y.ndim > 1 else y
    return torch.matmul(left, right)


@op("einsum")
def _einsum(values: tuple[Tensor, ...], equation: str) -> Tensor:
    """Sum products as an equation says."""
    return torch.einsum(equation, *values)


def _padding(
    kind: str, pad: Tensor | None, lengths: list[int], kernel: list[int], step: list[int], spread: list[int]
) -> list[tuple[int, int]]:
    """Return what is added before and after each spatial axis.

    Raises
    ------
    MilError
        If ``kind`` is not known.
    """
    if kind == "valid":
        return [(0, 0)] * len(lengths)
    if kind == "custom":
        return _pairs(maybe(pad, [0] * 2 * len(lengths)))
    if kind not in {"same", "same_lower"}:
        raise MilError(f"`{kind}` is no padding type")
    return [
        _split(max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0), kind)
        for n, k, s, d in zip(lengths, kernel, step, spread, strict=True)
    ]


def _torch_padding(edges: list[tuple[int, int]]) -> list[int]:
    """Return padding as torch wants it: the last axis first."""
    return [n for pair in reversed(edges) for n in pair]


def _pairs(flat: list[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _split(total: int, kind: str) -> tuple[int, int]:
    more, less = total - total // 2, total // 2
    return (more, less) if kind == "same_lower" else (less, more)


_MEAN: Final[dict[int, Callable[..., Tensor]]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAX: Final[dict[int, Callable[..., Tensor]]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


@op("max_pool")
def _max_pool(
    x: Tensor,
    kernel_sizes: Tensor,
    pad_type: str,
    strides: Tensor | None = None,
    pad: Tensor | None = None,
    ceil_mode: Arg = False,
) -> Tensor:
    """Take the highest value of each window."""
    kernel = integers(kernel_sizes)
    step = maybe(strides, [1] * len(kernel))
    edges = _edges(x, kernel, step, pad_type, pad, flag(ceil_mode))
    return _MAX[_rank(kernel)](F.pad(x, _torch_padding(edges), value=-math.inf), kernel, step)


@op("avg_pool")
def _avg_pool(
    x: Tensor,
    kernel_sizes: Tensor,
    pad_type: str,
    strides: Tensor | None = None,
    pad: Tensor | None = None,
    exclude_padding_from_average: Arg = False,
    ceil_mode: Arg = False,
) -> Tensor:
    """Average each window; its padding counts as zeros, or not at all."""
    kernel = integers(kernel_sizes)
    step = maybe(strides, [1] * len(kernel))
    edges = _torch_padding(_edges(x, kernel, step, pad_type, pad, flag(ceil_mode)))
    mean: Tensor = _MEAN[_rank(kernel)](F.pad(x, edges), kernel, step)
    if not flag(exclude_padding_from_average) or not any(edges):
        return mean
    return mean / _MEAN[_rank(kernel)](F.pad(torch.ones_like(x), edges), kernel, step)


def _rank(kernel: list[int]) -> int:
    if len(kernel) not in _MEAN:
        raise MilError(f"pooling over {len(kernel)} axes")
    return len(kernel)


def _edges(
    x: Tensor, kernel: list[int], step: list[int], kind: str, pad: Tensor | None, ceil: bool
) -> list[tuple[int, int]]:
    lengths = list(x.shape[2:])
    edges = _padding(kind, pad, lengths, kernel, step, [1] * len(kernel))
    if not ceil:
        return edges
    grown = []
    for n, k, s, (before, after) in zip(lengths, kernel, step, edges, strict=True):
        places = math.ceil((n + before + after - k) / s) + 1
        if (places - 1) * s >= n + before:  # a last window that begins in the padding is left out
            places -= 1
        grown.append((before, max(after, (places - 1) * s + k - n - before)))
    return grown


@op("upsample_nearest_neighbor")
def _upsample_nearest_neighbor(x: Tensor, scale_factor_height: Arg = 1, scale_factor_width: Arg = 1) -> Tensor:
    """Repeat the nearest value."""
    height, width = _scaled(x, scale_factor_height, scale_factor_width)
    return _resize_nearest_neighbor(x, height, width)


@op("resize_nearest_neighbor")
def _resize_nearest_neighbor(x: Tensor, target_size_height: Arg, target_size_width: Arg) -> Tensor:
    """Repeat the nearest value, in exact integer arithmetic."""
    for axis, target in ((-2, integer(target_size_height)), (-1, integer(target_size_width))):
        x = x.index_select(axis, torch.arange(target) * x.shape[axis] // target)
    return x


@op("upsample_bilinear")
def _upsample_bilinear(
    x: Tensor,
    scale_factor_height: Arg = 1,
    scale_factor_width: Arg = 1,
    align_corners: Arg = True,
    half_pixel_centers: Tensor | None = None,
) -> Tensor:
    """Interpolate between the four nearest values."""
    height, width = _scaled(x, scale_factor_height, scale_factor_width)
    if flag(align_corners):
        mode = "ALIGN_CORNERS"
    else:
        mode = "UNALIGN_CORNERS" if half_pixel_centers is None or flag(half_pixel_centers) else "DEFAULT"
    return _resize_bilinear(x, height, width, mode)


@op("resize_bilinear")
def _resize_bilinear(
    x: Tensor, target_size_height: Arg = 1, target_size_width: Arg = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Interpolate between the four nearest values."""
    for axis, target in ((x.ndim - 2, integer(target_size_height)), (x.ndim - 1, integer(target_size_width))):
        length = x.shape[axis]
        place = _grid(length, target, sampling_mode).clamp(0, length - 1)
        low = place.floor().long()
        share = (place - low).to(x.dtype).reshape([-1] + [1] * (x.ndim - 1 - axis))
        high = (low + 1).clamp(max=length - 1)
        x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share
    return x


def _scaled(x: Tensor, height: Arg, width: Arg) -> tuple[int, int]:
    # A factor such as 4/3 is kept in float32: without the margin, 3 × 1.3333334 may come to less than 4.
    return tuple(int(n * number(f) + 1e-4) for n, f in zip(x.shape[-2:], (height, width), strict=True))  # type: ignore[return-value]


def _grid(length: int, target: int, mode: str) -> Tensor:
    step = torch.arange(target, dtype=torch.float64)
    match mode:
        case "STRICT_ALIGN_CORNERS" | "ALIGN_CORNERS":
            if target == 1:
                return torch.tensor([(length - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0], dtype=torch.float64)
            return step * (length - 1) / (target - 1)
        case "DEFAULT":
            return step * length / target
        case "OFFSET_CORNERS":
            delta = max(1, length - 1) / target
            return delta / 2 + step * delta
        case "UNALIGN_CORNERS":
            return (step + 0.5) * length / target - 0.5
    raise MilError(f"`{mode}` is no sampling mode")
