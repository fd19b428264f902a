"""Palettization: every weight of a group becomes one of few values, found by k-means (Han et al., ICLR 2016)."""

from typing import Final

import torch
from torch import Tensor

PALETTE_GROUP: Final = 16
"""Output channels that share a palette."""

_ITERATIONS: Final = 30


def palettized(weight: Tensor, bits: int) -> Tensor:
    """Replace each weight by the nearest of ``2 ** bits`` float16 values.

    Parameters
    ----------
    weight
        Floating, any shape; within the range of float16.
    bits
        1 to 8.

    Returns
    -------
    Tensor
        Of the same shape, float32. Deterministic: one-dimensional k-means, the better of two fixed initializations.
    """
    values = weight.detach().double().reshape(-1).sort().values
    centers: Tensor = torch.unique(values)
    if len(centers) > 2**bits:
        centers = _clustered(values, bits)
    stored = centers.half().double()
    nearest = torch.searchsorted(0.5 * (stored[1:] + stored[:-1]), weight.detach().double().contiguous())
    found: Tensor = stored[nearest].float()
    return found


def _clustered(values: Tensor, bits: int) -> Tensor:
    """Return the cluster centers of sorted values, ascending."""
    shares = torch.linspace(0, 1, 2**bits, dtype=torch.float64)
    even = values[0] + (values[-1] - values[0]) * shares
    # Quantiles alone give each tail, which costs most, a single value; even steps alone give the middle too few.
    between = (0.5 * (torch.quantile(_thinned(values), shares) + even)).sort().values
    # Iterations never increase the error, so the result is at least as good as even steps.
    return min((_settled(values, start) for start in (between, even)), key=lambda centers: _error(values, centers))


def _settled(values: Tensor, centers: Tensor) -> Tensor:
    """Improve centers by Lloyd's iterations."""
    totals = torch.cat([values.new_zeros(1), values.cumsum(0)])
    for _ in range(_ITERATIONS):
        edges = torch.searchsorted(values, 0.5 * (centers[1:] + centers[:-1]))
        starts = torch.cat([edges.new_zeros(1), edges])
        ends = torch.cat([edges, edges.new_full((1,), len(values))])
        counts = ends - starts
        means = (totals[ends] - totals[starts]) / counts.clamp(min=1)
        centers = torch.where(counts > 0, means, centers).sort().values
    return centers


def _error(values: Tensor, centers: Tensor) -> float:
    nearest = centers[torch.searchsorted(0.5 * (centers[1:] + centers[:-1]), values)]
    return float((values - nearest).square().sum())


def _thinned(values: Tensor) -> Tensor:
    """Return at most about a million of the values: torch computes quantiles of no more than 16 million."""
    return values[:: max(1, len(values) // 1_000_000)]
