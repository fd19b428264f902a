"""Convolutions and matrix products."""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.export.lower.mil_interpreter.errors import MilError
from pocketcrafter.export.lower.mil_interpreter.ops.arguments import Arg, flag, integer, integers, maybe
from pocketcrafter.export.lower.mil_interpreter.registry import op

_CONVOLVE: Final = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: Final = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@op("conv")
def conv(
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
    edges = padding(pad_type, pad, list(x.shape[2:]), kernel, step, spread)
    padded = F.pad(x, torch_padding(edges)) if any(map(any, edges)) else x
    return _CONVOLVE[rank](padded, weight, bias, step, 0, spread, integer(groups))


@op("conv_transpose")
def conv_transpose(
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
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply the last axis by ``(out, in)`` transposed."""
    return F.linear(x, weight, bias)


@op("matmul")
def matmul(x: Tensor, y: Tensor, transpose_x: Arg = False, transpose_y: Arg = False) -> Tensor:
    """Multiply the last two axes as matrices."""
    left = x.transpose(-1, -2) if flag(transpose_x) and x.ndim > 1 else x
    right = y.transpose(-1, -2) if flag(transpose_y) and y.ndim > 1 else y
    return torch.matmul(left, right)


@op("einsum")
def einsum(values: tuple[Tensor, ...], equation: str) -> Tensor:
    """Sum products as an equation says."""
    return torch.einsum(equation, *values)


def padding(
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


def torch_padding(edges: list[tuple[int, int]]) -> list[int]:
    """Return padding as torch wants it: the last axis first."""
    return [n for pair in reversed(edges) for n in pair]


def _pairs(flat: list[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _split(total: int, kind: str) -> tuple[int, int]:
    more, less = total - total // 2, total // 2
    return (more, less) if kind == "same_lower" else (less, more)
