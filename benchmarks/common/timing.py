"""Confidence intervals that assume nothing of how latencies are distributed, and quantiles of them."""

import math
from collections.abc import Sequence
from typing import Annotated, Final, Self

import numpy as np
from pydantic import Field, model_validator

from pocketcrafter.runtime.config import Config

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


Milliseconds = Annotated[float, Field(gt=0, le=1e9)]


Samples = Annotated[tuple[Milliseconds, ...], Field(min_length=1, max_length=100_000)]


class Interval(Config):
    """A 95 % confidence interval."""

    low: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the interval ends at {self.high}, before it starts at {self.low}")
        return self

    @classmethod
    def of(cls, ends: tuple[float, float] | None) -> Self | None:
        """Wrap what the functions of `intervals` return."""
        return None if ends is None else cls(low=ends[0], high=ends[1])


class Timing(Config):
    """Warm latencies, each one inference, in the order they were taken."""

    samples_ms: Samples
    median_ms: float
    p90_ms: float
    p99_ms: float = Field(description="With fewer than 100 samples this is close to the slowest one.")
    median_interval_ms: Interval | None = Field(description="By order statistics; null for fewer than 6 samples.")
    spread: float = Field(ge=0, description="(p90 − p10) / median.")

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> Self:
        """Summarize samples."""
        return cls(samples_ms=tuple(samples_ms), **cls._summary(samples_ms))

    @staticmethod
    def _summary(samples: Sequence[float]) -> dict[str, object]:
        median, p90, p99 = (float(q) for q in np.quantile(np.asarray(samples, dtype=np.float64), [0.5, 0.9, 0.99]))
        return {
            "median_ms": median,
            "p90_ms": p90,
            "p99_ms": p99,
            "median_interval_ms": Interval.of(median_interval(samples)),
            "spread": spread(samples),
        }

    @model_validator(mode="after")
    def _agrees_with_its_samples(self) -> Self:
        for name, value in self._summary(self.samples_ms).items():
            stated = getattr(self, name)
            equal = np.isclose(stated, value, rtol=1e-6) if isinstance(value, float) else stated == value
            if not equal:
                raise ValueError(f"`{name}` is {stated}; its samples give {value}")
        return self


class Skipped(Config):
    """What was not measured, and why."""

    what: str = Field(min_length=1, max_length=200)
    reason: str = Field(max_length=2000)
