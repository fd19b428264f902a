"""Confidence intervals where frames come from few photos: what was sampled is the photo, not the frame."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import Field

from pocketcrafter.runtime.config import Config

CONFIDENCE: Final = 0.95

_RESAMPLES: Final = 2000


class Effect(Config):
    """A mean over frames and its 95 % interval over photos."""

    mean: float
    low: float | None = Field(description="Null with fewer than two photos.")
    high: float | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+.2f}"
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def clustered_mean(values: Sequence[float], photos: Sequence[str]) -> Effect:
    """Return the mean of values and its interval by the percentile bootstrap over photos.

    Parameters
    ----------
    values
        One a frame; at least one.
    photos
        The photo of each frame. All frames of a photo are drawn together.

    Notes
    -----
    The same values always give the same interval.
    """
    names, index = np.unique(np.asarray(photos), return_inverse=True)
    numbers = np.asarray(values, dtype=np.float64)
    mean = float(numbers.mean())
    if len(names) < 2:
        return Effect(mean=mean, low=None, high=None)
    sums, counts = np.bincount(index, numbers), np.bincount(index)
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), _RESAMPLES)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Effect(mean=mean, low=float(low), high=float(high))
