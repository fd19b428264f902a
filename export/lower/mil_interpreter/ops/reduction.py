"""Operators over whole axes: reductions, normalizations and attention."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.export.lower.mil_interpreter.registry import Arg, axis_shape, flag, integer, integers, number, op


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
def _reduce_log_sum(x: Tensor, axes: Tensor | None = None, keep_dims: Arg = False) -> Tensor:
    """Logarithm of the sum."""
    return x.sum(list(range(x.ndim)) if axes is None else integers(axes), keepdim=flag(keep_dims)).log()


@op("reduce_argmax")
def _reduce_argmax(x: Tensor, axis: Arg = -1, keep_dims: Arg = False, output_dtype: str = "int32") -> Tensor:
    """Where the highest value is; ``output_dtype`` is settled by the declared type."""
    del output_dtype
    return x.argmax(integer(axis), keepdim=flag(keep_dims))


@op("reduce_argmin")
def _reduce_argmin(x: Tensor, axis: Arg = -1, keep_dims: Arg = False, output_dtype: str = "int32") -> Tensor:
    """Where the lowest value is; ``output_dtype`` is settled by the declared type."""
    del output_dtype
    return x.argmin(integer(axis), keepdim=flag(keep_dims))


@op("argsort")
def _argsort(x: Tensor, axis: Arg = -1, ascending: Arg = False) -> Tensor:
    """Give the order that sorts an axis."""
    return x.argsort(integer(axis), descending=not flag(ascending))


@op("topk")
def _topk(
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


@op("batch_norm")
def _batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Arg = 1e-5,
) -> Tensor:
    """Normalize each channel by stored statistics."""
    scale = torch.rsqrt(variance + number(epsilon)) * (1 if gamma is None else gamma)
    shift = (0 if beta is None else beta) - mean * scale
    return x * axis_shape(scale, x.ndim, 1) + axis_shape(shift, x.ndim, 1)


@op("instance_norm")
def _instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: Arg = 1e-5) -> Tensor:
    """Normalize each channel of each sample over space."""
    over = list(range(2, x.ndim))
    normal = _normal(x, over, number(epsilon))
    scaled = normal if gamma is None else normal * axis_shape(gamma, x.ndim, 1)
    return scaled if beta is None else scaled + axis_shape(beta, x.ndim, 1)


@op("layer_norm")
def _layer_norm(
    x: Tensor,
    axes: Tensor | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Arg = 1e-5,
) -> Tensor:
    """Normalize over some axes; ``gamma`` and ``beta`` have those axes' lengths."""
    over = sorted(a % x.ndim for a in (range(x.ndim) if axes is None else integers(axes)))
    normal = _normal(x, over, number(epsilon))
    shape = [n if axis in over else 1 for axis, n in enumerate(x.shape)]
    scaled = normal if gamma is None else normal * gamma.reshape(shape)
    return scaled if beta is None else scaled + beta.reshape(shape)


@op("l2_norm")
def _l2_norm(x: Tensor, epsilon: Arg = 1e-6) -> Tensor:
    """Divide by the length of the vector that the last three axes make."""
    over = tuple(range(max(0, x.ndim - 3), x.ndim))
    return x * torch.rsqrt(x.square().sum(over, keepdim=True) + number(epsilon))


def _normal(x: Tensor, over: list[int], epsilon: float) -> Tensor:
    variance, mean = torch.var_mean(x, over, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + epsilon)


@op("scaled_dot_product_attention")
def _scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """``softmax(QKᵀ / √E + mask) V``; a mask of truth values says who may look."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask)
