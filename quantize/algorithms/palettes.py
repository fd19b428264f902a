"""Palettes: every weight of a group becomes one of a few values, found by k-means (Han et al., ICLR 2016)."""

from typing import Final

import torch
from torch import Tensor

PALETTE_GROUP: Final = 16
"""Output channels that share a palette."""

_ROUNDS: Final = 30


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
        Of the same shape, float32. Deterministic: k-means in one dimension, the better of two fixed starts.
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
    """Return the centers of clusters of sorted values, in order."""
    places = torch.linspace(0, 1, 2**bits, dtype=torch.float64)
    even = values[0] + (values[-1] - values[0]) * places
    # Quantiles alone leave the tails, which cost most, to one value each; even steps alone leave the middle.
    between = (0.5 * (torch.quantile(_thinned(values), places) + even)).sort().values
    # Rounds never lose: from even steps on the result is no worse than those, wherever the other start gets stuck.
    return min((_settled(values, start) for start in (between, even)), key=lambda centers: _error(values, centers))


def _settled(values: Tensor, centers: Tensor) -> Tensor:
    """Let Lloyd's rounds improve centers."""
    totals = torch.cat([values.new_zeros(1), values.cumsum(0)])
    for _ in range(_ROUNDS):
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
    """Return at most a million of them, which is as many as torch takes quantiles of."""
    return values[:: max(1, len(values) // 1_000_000)]
