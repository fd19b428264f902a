"""Weights of linear layers as integers: which layers, how many bits each, and the rounding that a scheme names.

GPTQ (Frantar et al., ICLR 2023) rounds column by column and corrects the columns not rounded yet for each error, by the
inverse Hessian. Columns with the largest Hessian diagonal go first ("act order").
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.blocks import Blocks, IntegerFormat, round_to_nearest, scales_for
from pocketcrafter.quantize.algorithms.hessians import Hessians
from pocketcrafter.quantize.config import Gptq, GroupedWeights, Rounding
from pocketcrafter.quantize.modules import check_modules, is_within
from pocketcrafter.runtime.errors import ConfigError

NO_HESSIANS: Final[Hessians] = {}


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
    steps = scales.double().repeat_interleave(integers.group_size, 1)
    levels = round_columns(weight, hessian, steps, integers.limits, damping)
    return Blocks(levels.to(torch.int8), scales, integers.bits)


def round_columns(
    weight: Tensor,
    hessian: Tensor,
    steps: Tensor,
    limits: tuple[int, int],
    damping: float,
    *,
    pinned: Tensor | None = None,
) -> Tensor:
    """Return the levels ``(N, K)``, whole numbers in float64, that GPTQ rounds a matrix to.

    Parameters
    ----------
    weight, hessian, damping
        As in :func:`round_gptq`.
    steps
        The size of a level for each weight, ``(N, K)``, float64.
    limits
        The lowest and the highest level.
    pinned
        Weights that are rounded as they are, and correct no other's error, ``(N, K)``; none without it.
    """
    order = hessian.diagonal().argsort(descending=True, stable=True)
    damped = hessian.double().clone()
    damped.diagonal().add_(damping * hessian.diagonal().mean())
    factor = _inverse_cholesky(damped[order][:, order])
    own, ordered = weight.double()[:, order], steps[:, order]
    fixed = torch.zeros_like(own, dtype=torch.bool) if pinned is None else pinned[:, order]
    remaining = own.clone()
    levels = torch.empty_like(remaining)
    for column in range(weight.shape[1]):
        rounded = torch.where(fixed[:, column], own[:, column], remaining[:, column])
        level = (rounded / ordered[:, column]).round().clamp(*limits)
        error = (remaining[:, column] - level * ordered[:, column]) / factor[column, column]
        remaining[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :]
        levels[:, column] = level
    return levels[:, order.argsort()]


def _inverse_cholesky(hessian: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the inverse."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor


def round_linears(
    model: nn.Module,
    scheme: GroupedWeights,
    hessians: Hessians = NO_HESSIANS,
    *,
    positive_scales: bool = False,
    bfloat16_scales: bool = False,
) -> dict[str, Blocks]:
    """Round the weights of linear layers whose number of inputs is a multiple of the group size.

    Parameters
    ----------
    model
        Not modified.
    scheme
        Bits, group size and rounding.
    hessians
        Of the layers that GPTQ rounds, by the layers' qualified names; other layers are rounded to nearest.
    positive_scales, bfloat16_scales
        As in :class:`pocketcrafter.quantize.algorithms.blocks.IntegerFormat`.

    Returns
    -------
    dict
        Levels and scales by the layer's qualified name.

    Raises
    ------
    ConfigError
        If no layer is left to quantize, or the scheme names a module that the model does not have.
    """
    check_modules(model, tuple(scheme.module_bits), "weight_bits")
    made = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or module.in_features % scheme.group_size:
            continue
        if is_within(name, scheme.keep_fp32):
            continue
        bits = bits_for(name, scheme.bits, scheme.module_bits)
        integers = IntegerFormat(bits, scheme.group_size, positive_scales, bfloat16_scales)
        made[name] = round_weight(module.weight.detach(), integers, scheme.rounding, hessians.get(name))
    if not made:
        raise ConfigError(
            f"{type(model).__name__} has no linear layer with a multiple of {scheme.group_size} inputs that keep_fp32 "
            "leaves to quantize: keep fewer modules, choose a smaller group size, or build it in fp32."
        )
    return made


def round_weight(weight: Tensor, integers: IntegerFormat, rounding: Rounding, hessian: Tensor | None) -> Blocks:
    """Round a matrix by GPTQ where that is asked for and a Hessian is there, else to nearest.

    Parameters
    ----------
    weight
        ``(N, K)``, floating; K a multiple of the group size.
    integers
        Levels and scales to round to.
    rounding
        The method.
    hessian
        Mean of ``x·xᵀ`` over the layer's inputs, ``(K, K)``, where it is known.
    """
    if isinstance(rounding, Gptq) and hessian is not None:
        return round_gptq(weight, hessian, integers, rounding.damping)
    return round_to_nearest(weight, integers)


def bits_for(name: str, bits: int, module_bits: Mapping[str, int]) -> int:
    """Return the bits of a layer: those of the first named module that contains it, or else ``bits``.

    Parameters
    ----------
    name
        The layer's qualified name.
    bits
        What all other layers have.
    module_bits
        Bits of single modules by their qualified names.
    """
    return next((n for above, n in module_bits.items() if is_within(name, (above,))), bits)
