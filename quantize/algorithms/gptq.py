"""GPTQ: rounds a weight matrix column by column and corrects the remaining columns for each rounding error.

Frantar et al., ICLR 2023. The rounding error of a column is distributed over the columns not rounded yet by the
inverse Hessian. Columns with the largest Hessian diagonal go first ("act order"), while most columns can still
compensate for them.
"""

import torch
from torch import Tensor

from pocketcrafter.quantize.algorithms.blocks import Blocks, IntegerFormat, scales_for
from pocketcrafter.runtime.errors import ConfigError


def round_gptq(weight: Tensor, hessian: Tensor, integers: IntegerFormat, damping: float) -> Blocks:
    """Round a matrix so that its products with the calibration data change least.

    Parameters
    ----------
    weight
        ``(N, K)``, floating; K a multiple of the group size.
    hessian
        Mean of ``x·xᵀ`` over the layer's inputs, ``(K, K)``; see `pocketcrafter.quantize.algorithms.hessians`.
    integers
        Levels and scales to round to.
    damping
        Share of the mean Hessian diagonal that is added to the diagonal.

    Raises
    ------
    ConfigError
        If the shapes do not match, a value is not finite, or all inputs were 0.
    """
    rows, columns = weight.shape
    if hessian.shape != (columns, columns):
        raise ConfigError(f"A weight of {rows}×{columns} needs a Hessian of {columns}², not {tuple(hessian.shape)}.")
    mean = hessian.diagonal().mean()
    if not torch.isfinite(hessian).all() or mean <= 0:
        raise ConfigError("Every calibration sample is 0 or not finite here: calibrate with real photos.")
    scales = scales_for(weight, integers, hessian.diagonal())
    order = hessian.diagonal().argsort(descending=True, stable=True)
    damped = hessian.double().clone()
    damped.diagonal().add_(damping * mean)
    factor = _inverse_cholesky(damped[order][:, order])
    remaining = weight.double()[:, order].clone()
    steps = scales.double().repeat_interleave(integers.group_size, 1)[:, order]
    levels = torch.empty_like(remaining)
    for column in range(columns):
        level = (remaining[:, column] / steps[:, column]).round().clamp(*integers.limits)
        error = (remaining[:, column] - level * steps[:, column]) / factor[column, column]
        remaining[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :]
        levels[:, column] = level
    return Blocks(levels[:, order.argsort()].to(torch.int8), scales, integers.bits)


def _inverse_cholesky(hessian: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the inverse."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor
