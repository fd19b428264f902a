"""GPTQ: rounds a weight matrix column by column and lets the columns to come make up for each error.

Frantar et al., ICLR 2023: of the columns that are left, the error of one is spread by the inverse of the inputs' second
moments. Columns whose inputs are large come first, when most of the others can still answer for them.
"""

from typing import Final

import torch
from torch import Tensor

from pocketcrafter.quantize.blocks import BLOCK, Blocks, limits, scales_for
from pocketcrafter.runtime.errors import ConfigError

_DAMPING: Final = 0.1
"""Share of the mean square that is added to every input's: with less, few samples are learned by heart."""


def round_to_moments(
    weight: Tensor, moment: Tensor, bits: int, *, positive: bool = False, brief: bool = False
) -> Blocks:
    """Round a matrix so that its products with the calibration data change least.

    Parameters
    ----------
    weight
        ``(N, K)``, floating; K a multiple of `BLOCK`.
    moment
        Mean of ``x·xᵀ`` over the inputs, ``(K, K)``.
    bits
        2, 4 or 8.
    positive, brief
        What scales must be; as in :func:`pocketcrafter.quantize.blocks.nearest`.

    Raises
    ------
    ConfigError
        If the shapes do not fit, a value is not finite, or no input was ever other than 0.
    """
    rows, columns = weight.shape
    if moment.shape != (columns, columns):
        raise ConfigError(f"A weight of {rows}×{columns} needs moments of {columns}², not {tuple(moment.shape)}.")
    mean = moment.diagonal().mean()
    if not torch.isfinite(moment).all() or mean <= 0:
        raise ConfigError("Every calibration sample is 0 or not finite here: calibrate with real photos.")
    scales = scales_for(weight, bits, moment.diagonal(), positive=positive, brief=brief)
    order = moment.diagonal().argsort(descending=True, stable=True)
    damped = moment.double().clone()
    damped.diagonal().add_(_DAMPING * mean)
    factor = _spreading(damped[order][:, order])
    left = weight.double()[:, order].clone()
    steps = scales.double().repeat_interleave(BLOCK, 1)[:, order]
    levels = torch.empty_like(left)
    for column in range(columns):
        level = (left[:, column] / steps[:, column]).round().clamp(*limits(bits))
        error = (left[:, column] - level * steps[:, column]) / factor[column, column]
        left[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :]
        levels[:, column] = level
    return Blocks(levels[:, order.argsort()].to(torch.int8), scales, bits)


def _spreading(moment: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the inverse."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moment))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor
