"""Ratios that are kept: no millisecond in them, and a later run on any machine is held against them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketcrafter.benchmarks.cli import bench
from pocketcrafter.benchmarks.common.names import REFERENCE
from pocketcrafter.benchmarks.latency.baseline import BASELINE_FILE, Baseline, baseline_of, read_baseline
from pocketcrafter.benchmarks.latency.compare import Basis, Verdict, compare_with_baseline
from pocketcrafter.benchmarks.latency.results import LatencyReport
from pocketcrafter.runtime.errors import ConfigError

ReportOf = Callable[..., LatencyReport]
SamplesOf = Callable[..., list[float]]
EAGER = "torch-eager-fp32"


def test_a_faster_machine_is_the_same_and_a_slower_network_is_not(report_of: ReportOf, samples_of: SamplesOf) -> None:
    kept = baseline_of(report_of({"onnx": samples_of(1), EAGER: samples_of(2, median=300)}))
    fast = report_of({"onnx": samples_of(3, median=20), EAGER: samples_of(4, median=60)}, cpu="Two")
    slow = report_of({"onnx": samples_of(5, median=27), EAGER: samples_of(6, median=60)}, cpu="Two")
    report = compare_with_baseline(kept, fast)
    assert report.basis is Basis.BASELINE
    assert [(c.runner, c.verdict) for c in report.comparisons] == [("onnx", Verdict.SAME)]
    assert [c.verdict for c in compare_with_baseline(kept, slow).regressions] == [Verdict.SLOWER]
    assert [c.verdict for c in compare_with_baseline(baseline_of(slow), fast).comparisons] == [Verdict.FASTER]


def test_the_interval_holds_what_both_intervals_allow(report_of: ReportOf, samples_of: SamplesOf) -> None:
    runs = [report_of({"onnx": samples_of(seed), EAGER: samples_of(seed + 50, median=300)}) for seed in (1, 2)]
    old, new = (baseline_of(run).cases[0] for run in runs)
    compared = compare_with_baseline(baseline_of(runs[0]), runs[1]).comparisons[0]
    assert compared.ratio == pytest.approx(new.ratio / old.ratio)
    assert compared.interval.low == pytest.approx(new.interval.low / old.interval.high)
    assert compared.interval.high == pytest.approx(new.interval.high / old.interval.low)


def test_times_are_not_kept(report_of: ReportOf, samples_of: SamplesOf) -> None:
    calm = report_of({"onnx": samples_of(1), EAGER: samples_of(2, median=300)})
    (case,) = baseline_of(calm).cases
    assert case.ratio == pytest.approx(1 / 3, rel=0.05)
    assert "_ms" not in baseline_of(calm).model_dump_json()


def test_without_eager_torch_there_is_no_baseline(report_of: ReportOf, samples_of: SamplesOf) -> None:
    with pytest.raises(ConfigError, match="--competitor torch-eager-fp32"):
        baseline_of(report_of({"onnx": samples_of(1)}))


def test_a_baseline_of_other_cases_is_refused(report_of: ReportOf, samples_of: SamplesOf) -> None:
    kept = baseline_of(report_of({"executorch-xnnpack": samples_of(1), EAGER: samples_of(2)}))
    with pytest.raises(ConfigError, match="no case of this run"):
        compare_with_baseline(kept, report_of({"onnx": samples_of(1), EAGER: samples_of(2)}))


def test_the_baseline_of_the_repository_can_be_compared_with() -> None:
    kept = read_baseline()
    assert {case.threads for case in kept.cases} <= {1, 2}
    assert REFERENCE not in {case.runner for case in kept.cases}
    assert "_ms" not in BASELINE_FILE.read_text(encoding="utf-8")


def test_the_commands_keep_and_compare(report_of: ReportOf, samples_of: SamplesOf, tmp_path: Path) -> None:
    run, kept = tmp_path / "run.json", tmp_path / "kept/baseline.json"
    run.write_text(report_of({"onnx": samples_of(1), EAGER: samples_of(2, median=300)}).model_dump_json())
    slow = tmp_path / "slow.json"
    slow.write_text(report_of({"onnx": samples_of(3, median=140), EAGER: samples_of(4, median=300)}).model_dump_json())
    result = CliRunner().invoke(bench, ["baseline", str(run), "--out", str(kept)])
    assert result.exit_code == 0, result.output
    assert Baseline.model_validate_json(kept.read_bytes()) == read_baseline(kept)
    assert CliRunner().invoke(bench, ["compare", str(run), "--baseline", str(kept)]).exit_code == 0
    worse = CliRunner().invoke(bench, ["compare", str(slow), "--baseline", str(kept)])
    assert (worse.exit_code, "SLOWER" in worse.stdout) == (1, True)
    both = CliRunner().invoke(bench, ["compare", str(run), str(slow), "--baseline", str(kept)])
    assert (both.exit_code, "name one result only" in both.stderr) == (2, True)
