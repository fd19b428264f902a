"""Normalizations."""

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.ops.arguments import Arg, axis_shape, integers, number
from pocketcrafter.export.lower.mil_interpreter.registry import op


@op("batch_norm")
def batch_norm(
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
def instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: Arg = 1e-5) -> Tensor:
    """Normalize each channel of each sample over space."""
    over = list(range(2, x.ndim))
    normal = _normal(x, over, number(epsilon))
    scaled = normal if gamma is None else normal * axis_shape(gamma, x.ndim, 1)
    return scaled if beta is None else scaled + axis_shape(beta, x.ndim, 1)


@op("layer_norm")
def layer_norm(
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
def l2_norm(x: Tensor, epsilon: Arg = 1e-6) -> Tensor:
    """Divide by the length of the vector that the last three axes make."""
    over = tuple(range(max(0, x.ndim - 3), x.ndim))
    return x * torch.rsqrt(x.square().sum(over, keepdim=True) + number(epsilon))


def _normal(x: Tensor, over: list[int], epsilon: float) -> Tensor:
    variance, mean = torch.var_mean(x, over, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + epsilon)
