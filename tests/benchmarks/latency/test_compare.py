"""Comparing runs: a real slowdown is flagged, noise is not, and milliseconds of two machines are never compared."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketcrafter.benchmarks.cli import bench
from pocketcrafter.benchmarks.latency.compare import Basis, Verdict, compare, comparison_lines
from pocketcrafter.benchmarks.latency.results import LatencyReport
from pocketcrafter.runtime.errors import ConfigError

ReportOf = Callable[..., LatencyReport]
SamplesOf = Callable[..., list[float]]
EAGER = "torch-eager-fp32"


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.06])
def test_a_slowdown_of_30_percent_is_flagged(noise: float, report_of: ReportOf, samples_of: SamplesOf) -> None:
    for seed in range(8):
        before = report_of({"onnx": samples_of(seed, noise=noise)})
        after = report_of({"onnx": samples_of(seed + 1000, median=130, noise=noise)})
        assert [c.verdict for c in compare(before, after).comparisons] == [Verdict.SLOWER]
        assert [c.verdict for c in compare(after, before).comparisons] == [Verdict.FASTER]


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.4])
def test_noise_alone_is_not_flagged(noise: float, report_of: ReportOf, samples_of: SamplesOf) -> None:
    runs = [report_of({"onnx": samples_of(seed, noise=noise)}) for seed in range(16)]
    alarms = sum(bool(compare(a, b).regressions) for a, b in itertools.pairwise(runs))
    assert alarms == 0


def test_a_few_outliers_are_not_a_regression(report_of: ReportOf, samples_of: SamplesOf) -> None:
    calm = samples_of(1)
    disturbed = [9 * s if i % 10 == 0 else s for i, s in enumerate(samples_of(2))]
    assert not compare(report_of({"onnx": calm}), report_of({"onnx": disturbed})).regressions


def test_more_memory_is_a_regression(report_of: ReportOf, samples_of: SamplesOf) -> None:
    before, after = report_of({"onnx": samples_of(1)}), report_of({"onnx": samples_of(2)}, peak_rss_mib=120)
    assert [c.verdict for c in compare(before, after).regressions] == [Verdict.MORE_MEMORY]
    assert not compare(after, before).regressions


def test_two_machines_are_compared_through_eager_torch(report_of: ReportOf, samples_of: SamplesOf) -> None:
    here = report_of({"onnx": samples_of(1), EAGER: samples_of(2, median=300)})
    slow_machine = report_of({"onnx": samples_of(3, median=500), EAGER: samples_of(4, median=1500)}, cpu="Two")
    slow_build = report_of({"onnx": samples_of(5, median=650), EAGER: samples_of(6, median=1500)}, cpu="Two")
    same = compare(here, slow_machine)
    assert same.basis is Basis.REFERENCE
    assert [(c.runner, c.verdict) for c in same.comparisons] == [("onnx", Verdict.SAME)]
    assert [c.verdict for c in compare(here, slow_build).comparisons] == [Verdict.SLOWER]
    assert compare(here, here).basis is Basis.TIME
    assert compare(here, here, relative=True).basis is Basis.REFERENCE


def test_two_machines_without_a_reference_are_not_compared(report_of: ReportOf, samples_of: SamplesOf) -> None:
    here, there = report_of({"onnx": samples_of(1)}), report_of({"onnx": samples_of(2)}, cpu="Two")
    with pytest.raises(ConfigError, match="--competitor torch-eager-fp32"):
        compare(here, there)


def test_runs_with_nothing_in_common_are_refused(report_of: ReportOf, samples_of: SamplesOf) -> None:
    with pytest.raises(ConfigError, match="no case in common"):
        compare(report_of({"onnx": samples_of(1)}), report_of({"executorch-xnnpack": samples_of(1)}))


def test_a_case_that_vanished_is_named(report_of: ReportOf, samples_of: SamplesOf) -> None:
    before = report_of({"onnx": samples_of(1), "executorch-xnnpack": samples_of(2)})
    report = compare(before, report_of({"onnx": samples_of(3)}))
    assert report.only_earlier == ("restore on executorch-xnnpack, 1 thread",)
    assert "not in the later run: restore on executorch-xnnpack, 1 thread" in list(comparison_lines(report))


def test_the_command_exits_with_1_on_a_regression_only(
    report_of: ReportOf, samples_of: SamplesOf, tmp_path: Path
) -> None:
    fast, slow = tmp_path / "fast.json", tmp_path / "slow.json"
    fast.write_text(report_of({"onnx": samples_of(1)}).model_dump_json())
    slow.write_text(report_of({"onnx": samples_of(2, median=130)}).model_dump_json())
    worse = CliRunner().invoke(bench, ["compare", str(fast), str(slow)])
    assert (worse.exit_code, "SLOWER" in worse.stdout) == (1, True)
    assert CliRunner().invoke(bench, ["compare", str(slow), str(fast)]).exit_code == 0
    as_json = CliRunner().invoke(bench, ["compare", str(fast), str(slow), "--json"])
    assert '"verdict": "slower"' in as_json.stdout
