"""Reductions, and the order of values."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.ops.arguments import Arg, flag, integer, integers
from pocketcrafter.export.lower.mil_interpreter.registry import op


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


_REDUCTIONS: Final[dict[str, Callable[[Tensor, list[int], bool], Tensor]]] = {
    "reduce_mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "reduce_max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "reduce_prod": _product,
    "reduce_sum_square": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
    "reduce_l1_norm": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "reduce_l2_norm": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "reduce_log_sum_exp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
}


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    def compute(x: Tensor, axes: Tensor | None = None, keep_dims: Arg = False) -> Tensor:
        return function(x, list(range(x.ndim)) if axes is None else integers(axes), flag(keep_dims))

    return compute


for _name, _function in _REDUCTIONS.items():
    op(_name)(_reduction(_function))


@op("reduce_log_sum")
def reduce_log_sum(x: Tensor, axes: Tensor | None = None, keep_dims: Arg = False) -> Tensor:
    """Logarithm of the sum."""
    return x.sum(list(range(x.ndim)) if axes is None else integers(axes), keepdim=flag(keep_dims)).log()


@op("reduce_argmax")
def reduce_argmax(x: Tensor, axis: Arg = -1, keep_dims: Arg = False, output_dtype: str = "int32") -> Tensor:
    """Where the highest value is; ``output_dtype`` is settled by the declared type."""
    del output_dtype
    return x.argmax(integer(axis), keepdim=flag(keep_dims))


@op("reduce_argmin")
def reduce_argmin(x: Tensor, axis: Arg = -1, keep_dims: Arg = False, output_dtype: str = "int32") -> Tensor:
    """Where the lowest value is; ``output_dtype`` is settled by the declared type."""
    del output_dtype
    return x.argmin(integer(axis), keepdim=flag(keep_dims))


@op("argsort")
def argsort(x: Tensor, axis: Arg = -1, ascending: Arg = False) -> Tensor:
    """Give the order that sorts an axis."""
    return x.argsort(integer(axis), descending=not flag(ascending))


@op("topk")
def topk(
    x: Tensor,
    k: Arg = 1,
    axis: Arg = -1,
    ascending: Arg = False,
    sort: Arg = True,
    return_indices: Arg = True,
    output_indices_dtype: str = "int32",
) -> Tensor | tuple[Tensor, ...]:
    """Find the ``k`` highest (or lowest) values and where they are."""
    del output_indices_dtype
    found = torch.topk(x, integer(k), integer(axis), largest=not flag(ascending), sorted=flag(sort))
    return (found.values, found.indices) if flag(return_indices) else found.values
