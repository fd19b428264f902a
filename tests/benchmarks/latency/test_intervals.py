"""The interval maths: exact coverage, and answers that do not hang on units, order or drift."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pocketcrafter.benchmarks.common.timing import median_interval, paired_ratio, ratio_of_medians, spread

times = st.floats(0.01, 1e4)
samples = st.lists(times, min_size=6, max_size=80)


@given(samples)
def test_the_interval_holds_the_median_and_ends_at_samples(values: list[float]) -> None:
    ends = median_interval(values)
    assert ends is not None
    assert set(ends) <= set(values)
    assert ends[0] <= np.median(values) <= ends[1]


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(values: list[float], random: Random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert median_interval(shuffled) == median_interval(values)


@pytest.mark.parametrize("n", [6, 7, 10, 30, 101, 1000])
def test_the_interval_is_the_narrowest_of_its_kind_with_95_percent(n: int) -> None:
    ends = median_interval(list(range(1, n + 1)))
    assert ends is not None
    k = ends[0]
    assert ends[1] == n + 1 - k
    assert 1 - 2 * binom.cdf(k - 1, n, 0.5) >= 0.95 > 1 - 2 * binom.cdf(k, n, 0.5)


@pytest.mark.parametrize("n", range(1, 6))
def test_five_samples_are_too_few_for_95_percent(n: int) -> None:
    assert median_interval([1.0] * n) is None
    assert ratio_of_medians([1.0] * n, [1.0] * 50)[1] is None


def test_the_interval_covers_the_true_median_of_a_skewed_distribution() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        low, high = median_interval(rng.lognormal(0.0, 0.8, 30).tolist())
        hits += low <= 1.0 <= high
    assert 0.94 <= hits / 1000 <= 0.995


@given(samples, st.lists(st.floats(0.2, 5), min_size=80, max_size=80), st.floats(0.1, 10))
def test_drift_that_hits_both_leaves_the_paired_ratio(values: list[float], drift: list[float], factor: float) -> None:
    ours = [v * d for v, d in zip(values, drift, strict=False)]
    theirs = [v * factor for v in ours]
    ratio, ends = paired_ratio(theirs, ours)
    assert ratio == pytest.approx(factor)
    assert ends == pytest.approx((factor, factor))


def test_a_pair_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1.0, 2.0], [1.0])


@settings(max_examples=25)
@given(samples, samples, st.floats(0.1, 10))
def test_the_ratio_of_medians_does_not_hang_on_the_unit(above: list[float], below: list[float], unit: float) -> None:
    ratio, ends = ratio_of_medians(above, below)
    scaled, scaled_ends = ratio_of_medians([a * unit for a in above], [b * unit for b in below])
    assert ends is not None
    assert ends[0] <= ratio <= ends[1]
    assert scaled == pytest.approx(ratio)
    assert scaled_ends == pytest.approx(ends)


@given(times, st.integers(1, 50))
def test_equal_samples_have_no_spread(value: float, n: int) -> None:
    assert spread([value] * n) == 0


def test_spread_is_that_of_the_middle_eight_tenths() -> None:
    assert spread(list(range(1, 12))) == pytest.approx((10 - 2) / 6)
    assert spread([*range(1, 11), 1000]) == pytest.approx((10 - 2) / 6)
