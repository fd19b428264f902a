"""Pooling over windows."""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.export.lower.mil_interpreter.errors import MilError
from pocketcrafter.export.lower.mil_interpreter.ops.arguments import Arg, flag, integers, maybe
from pocketcrafter.export.lower.mil_interpreter.ops.convolution import padding, torch_padding
from pocketcrafter.export.lower.mil_interpreter.registry import op

_MEAN: Final[dict[int, Callable[..., Tensor]]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAX: Final[dict[int, Callable[..., Tensor]]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


@op("max_pool")
def max_pool(
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
    return _MAX[_rank(kernel)](F.pad(x, torch_padding(edges), value=-math.inf), kernel, step)


@op("avg_pool")
def avg_pool(
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
    edges = torch_padding(_edges(x, kernel, step, pad_type, pad, flag(ceil_mode)))
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
    edges = padding(kind, pad, lengths, kernel, step, [1] * len(kernel))
    if not ceil:
        return edges
    grown = []
    for n, k, s, (before, after) in zip(lengths, kernel, step, edges, strict=True):
        places = math.ceil((n + before + after - k) / s) + 1
        if (places - 1) * s >= n + before:  # a last window that begins in the padding is left out
            places -= 1
        grown.append((before, max(after, (places - 1) * s + k - n - before)))
    return grown
