"""Ratios to competitors come from the rounds that both ran in."""

from collections.abc import Callable

import numpy as np
import pytest

from pocketcrafter.benchmarks.latency.measure import speed_ratios
from pocketcrafter.benchmarks.latency.results import LatencyReport


def test_drift_of_the_machine_leaves_the_ratio(report_of: Callable[..., LatencyReport]) -> None:
    drift = np.linspace(1, 5, 12)
    report = report_of({"onnx": 10 * drift, "xnnpack": 5 * drift, "torch-eager-fp32": 30 * drift})
    ratios = {r.ours: r for r in speed_ratios(report.cases)}
    assert ratios.keys() == {"onnx", "xnnpack"}
    assert ratios["onnx"].ratio == pytest.approx(3)
    assert ratios["xnnpack"].cpu_ratio == pytest.approx(6)
    for ratio in ratios.values():
        assert ratio.competitor == "torch-eager-fp32"
        assert ratio.interval.low == pytest.approx(ratio.ratio) == pytest.approx(ratio.interval.high)


def test_other_threads_or_networks_are_not_compared(report_of: Callable[..., LatencyReport]) -> None:
    ours, theirs = report_of({"onnx": [1.0] * 6, "torch-eager-fp32": [3.0] * 6}).cases
    assert list(speed_ratios([ours, theirs.model_copy(update={"threads": 2})])) == []
    assert list(speed_ratios([ours, theirs.model_copy(update={"component": "tone"})])) == []
