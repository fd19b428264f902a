"""Intervals over photos: as wide as the photos differ, whatever the number of frames."""

import numpy as np
import pytest

from pocketcrafter.benchmarks.common.clusters import clustered_mean


def test_the_mean_lies_in_its_interval_and_is_that_of_frames() -> None:
    effect = clustered_mean([1.0, 2.0, 6.0], ["a", "a", "b"])
    assert effect.mean == pytest.approx(3)
    assert effect.low is not None
    assert effect.high is not None
    assert effect.low <= effect.mean <= effect.high


def test_more_frames_of_the_same_photos_prove_no_more() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(0, 1, 20)
    once = clustered_mean(list(means), [str(i) for i in range(20)])
    often = clustered_mean(list(np.repeat(means, 50)), [str(i) for i in np.repeat(np.arange(20), 50)])
    assert (often.low, often.high) == (pytest.approx(once.low), pytest.approx(once.high))
    independent = clustered_mean(list(np.repeat(means, 50)), [str(i) for i in range(1000)])
    assert independent.high - independent.low < 0.3 * (once.high - once.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        effect = clustered_mean(list(rng.normal(1, 1, 30)), [str(i) for i in range(30)])
        held += effect.low <= 1 <= effect.high
    assert 0.88 <= held / 100 <= 0.99


def test_one_photo_has_no_interval() -> None:
    effect = clustered_mean([1.0, 2.0], ["a", "a"])
    assert (effect.low, effect.high) == (None, None)
    assert str(effect) == "+1.50"
