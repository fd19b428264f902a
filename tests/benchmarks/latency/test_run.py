"""Measuring for real: small networks in processes of their own."""

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pocketcrafter.benchmarks.cli import bench
from pocketcrafter.benchmarks.latency.measure import LatencyOptions, measure_latency
from pocketcrafter.benchmarks.latency.results import LatencyReport, latency_lines
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.pocket import Pocket

TONE = LatencyOptions(components=(Pocket.TONE,), competitors=(), repeats=6, loads=1)


def test_the_command_writes_a_result_that_can_be_read_back(bundle: Path) -> None:
    arguments = [
        "latency",
        str(bundle),
        "--component",
        "tone",
        "--repeats",
        "7",
        "--loads",
        "2",
        "--sustained",
        "1s",
        "--json",
    ]
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code == 0, result.output
    report = LatencyReport.model_validate_json(result.stdout)
    assert [c.component for c in report.cases] == [Pocket.TONE]
    for case in report.cases:
        assert len(case.warm.samples_ms) == 7
        assert len(case.load_ms) == len(case.first_ms) == 2
        assert case.warm.median_interval_ms.low <= case.warm.median_ms <= case.warm.p90_ms <= case.warm.p99_ms
        assert 0 < case.base_rss_mib < case.peak_rss_mib
        assert case.sqnr_db is None or case.sqnr_db > 40
    assert [len(c.points) for c in report.sustained] == [1]
    # The weights of this bundle are not the installed ones: no ratio may be claimed.
    assert report.sizes == ()
    refused = ["size beside the weights in float32", "tone on any competitor"]
    assert [s.what for s in report.skipped] == refused
    assert report.ratios == ()
    assert "host figure, not a phone's" in next(latency_lines(report))


def test_a_decoder_is_timed_over_a_critique(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    both = (Pocket.DECODER, Pocket.TONE)
    bundle = make_bundle(tmp_path / "small.pcbundle", networks=(*both, Pocket.CRITIC, Pocket.RESTORE))
    report = measure_latency(bundle, LatencyOptions(components=both, competitors=(), repeats=6, loads=1))
    decoder, tone = sorted(report.cases, key=lambda case: case.component)
    assert (decoder.in_a_row, tone.in_a_row) == (128, 1)
    # A mean and no sum: this one only adds up what it is given.
    assert decoder.warm.median_ms < 10 * decoder.first_ms[0]


def test_networks_that_give_wrong_answers_get_no_time(
    make_bundle: Callable[..., Path], resealed: Callable[[Path], Manifest], tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "wrong.pcbundle")
    golden = bundle / "goldens/tone/outputs_0.npz"
    with np.load(golden) as data:
        np.savez_compressed(golden, grid=data["grid"] + np.float16(0.5))
    resealed(bundle)
    with pytest.raises(BackendError, match="its answer is wrong"):
        measure_latency(bundle, TONE)


def test_a_process_that_dies_is_told_and_the_others_go_on(bundle: Path) -> None:
    def kill_tone(what: str, done: int, _: int) -> None:
        if what.startswith("tone") and done == 3:
            for child in multiprocessing.active_children():
                child.kill()
                child.join()

    options = LatencyOptions(components=(Pocket.TONE, Pocket.CRITIC), competitors=(), repeats=6, loads=1)
    report = measure_latency(bundle, options, kill_tone)
    assert [c.component for c in report.cases] == [Pocket.CRITIC]
    assert {s.what: "killed" in s.reason for s in report.skipped}["tone on onnx, 1 thread"]


def test_memory_of_the_parent_is_not_the_childs(bundle: Path) -> None:
    ballast = np.ones(100_000_000, dtype=np.float32)
    case = measure_latency(bundle, TONE).cases[0]
    assert ballast.nbytes > 350 << 20
    assert case.peak_rss_mib < 300


def test_whole_photos_run_every_stage_and_restoration_only_where_asked(bundle: Path) -> None:
    options = LatencyOptions(components=(Pocket.TONE,), competitors=(), repeats=1, loads=1, photos_mp=(0.2,))
    report = measure_latency(bundle, options)
    measured = [(p.megapixels, p.restoration) for p in report.photos]
    assert measured == [(0.2, False), (0.2, True)]
    always = {"decode", "critique", "tone", "develop", "encode"}
    for photo in report.photos:
        assert set(photo.stages_ms) == always | ({"restore"} if photo.restoration else set())
        assert photo.warm.median_interval_ms is None
        assert photo.target == "onnx"
        assert len(photo.load_ms) == len(photo.first_ms) == 1
        assert 0 < photo.base_rss_mib < photo.peak_rss_mib
    assert any("s per megapixel" in line for line in latency_lines(report))


def test_a_target_that_is_not_there_is_refused_by_name(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="no target `coreml`; it has onnx"):
        measure_latency(bundle, LatencyOptions(targets=("coreml",)))


def test_more_threads_than_cores_are_refused(bundle: Path) -> None:
    with pytest.raises(ConfigError, match=r"10000 threads on \d+ usable cores"):
        measure_latency(bundle, LatencyOptions(threads=(10_000,)))


@pytest.mark.parametrize("duration", ["0s", "10", "-5m", "1d", "m"])
def test_a_duration_without_sense_is_refused(duration: str, bundle: Path) -> None:
    result = CliRunner().invoke(bench, ["latency", str(bundle), "--sustained", duration])
    assert result.exit_code == 2
    assert "is not a duration" in result.stderr


def test_progress_stays_off_standard_output(bundle: Path) -> None:
    arguments = ["latency", str(bundle), "--component", "tone", "--competitor", "none", "--repeats", "2", "--json"]
    result = CliRunner().invoke(bench, [*arguments, "--loads", "1"])
    assert json.loads(result.stdout)["repeats"] == 2
