"""Confidence intervals that assume nothing of how latencies are distributed, and quantiles of them."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

CONFIDENCE: Final = 0.95
LEAST_SAMPLES: Final = 6
"""The fewest samples whose extremes hold the median with 95 % confidence: 1 − 2·2⁻⁶ = 0.969."""

_RESAMPLES: Final = 4000


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Return an interval of the median by order statistics: exact for every distribution of independent samples.

    Parameters
    ----------
    samples
        Any order, any unit.
    confidence
        Least probability that the interval holds the true median, in (0, 1).

    Returns
    -------
    tuple or None
        The ``k``-th lowest and ``k``-th highest sample for the largest ``k`` that keeps the confidence: each side
        misses with the probability of fewer than ``k`` heads in ``n`` tosses. `None` for too few samples.
    """
    ordered, n = sorted(samples), len(samples)
    k, missed = 0, 0
    while k < n // 2:
        missed += math.comb(n, k)
        if 2 * missed > (1 - confidence) * 2**n:
            break
        k += 1
    return (ordered[k - 1], ordered[n - k]) if k else None


def paired_ratio(
    numerators: Sequence[float], denominators: Sequence[float]
) -> tuple[float, tuple[float, float] | None]:
    """Return the median of the ratios of samples taken at the same time, and its interval.

    What slows the machine down for a while slows both sides of a pair, and leaves the ratio.

    Parameters
    ----------
    numerators, denominators
        Positive, as many of one as of the other, in the order of measuring.
    """
    ratios = [n / d for n, d in zip(numerators, denominators, strict=True)]
    return float(np.median(ratios)), median_interval(ratios)


def ratio_of_medians(
    numerators: Sequence[float], denominators: Sequence[float]
) -> tuple[float, tuple[float, float] | None]:
    """Return the ratio of two runs' medians and its 95 % interval by the percentile bootstrap.

    Parameters
    ----------
    numerators, denominators
        Positive samples that do not belong together; not necessarily as many of each.

    Notes
    -----
    The same samples always give the same interval. It holds the spread within each run, and not what changed on the
    machine between the two.
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    ratio = float(np.median(above) / np.median(below))
    if min(above.size, below.size) < LEAST_SAMPLES:
        return ratio, None
    rng = np.random.default_rng(0)
    drawn = [np.median(rng.choice(side, (_RESAMPLES, side.size)), axis=1) for side in (above, below)]
    low, high = np.quantile(drawn[0] / drawn[1], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    # The percentiles of few resamples can miss the estimate itself by a rounding.
    return ratio, (min(float(low), ratio), max(float(high), ratio))


def spread(samples: Sequence[float]) -> float:
    """Return how unlike the samples are: (90th − 10th percentile) / median, of positive samples."""
    low, median, high = np.quantile(np.asarray(samples, dtype=np.float64), [0.1, 0.5, 0.9])
    return float((high - low) / median)
