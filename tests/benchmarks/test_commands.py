"""The commands on a small bundle and two photos: exit codes, JSON that can be read back, help without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from pocketcrafter.benchmarks.cli import bench
from pocketcrafter.benchmarks.common.result_files import result_of
from pocketcrafter.benchmarks.quality.gallery import SHEET_NAME, read_gallery
from pocketcrafter.benchmarks.quality.results import QualityReport, read_quality
from pocketcrafter.benchmarks.token_ablation import BridgeReport
from pocketcrafter.runtime.cli import run


def test_quality_writes_what_the_report_reads_and_fails_on_missed_gates(
    bundle: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "quality", bundle, "--data", data, "--per-photo", 1, "--threads", 1, "--no-features", "--json"]
    words += ["--kind", "clean", "--most-photos", 1, "--gallery", tmp_path / "worst", "--peers"]
    words += ["--journal", tmp_path / "journal.jsonl"]
    assert run([*map(str, words)]) == 1  # a critic that always asks for everything changes every clean photo
    captured = capfd.readouterr()
    assert run([*map(str, words)]) == 1
    again = result_of(capfd.readouterr().out, QualityReport)
    assert "clean frames: left as they are: at least 92.0% asked, measured 0.0%" in captured.err
    assert "Traceback" not in captured.err
    (tmp_path / "quality.json").write_text(captured.out)
    report = read_quality(tmp_path / "quality.json")
    assert report.frames == again.frames  # nothing was measured again: the seconds are the same too
    assert report.bundle == "small"
    assert len(report.frames) == 1
    assert len(report.summary.peers) == 3
    gallery, _ = read_gallery(tmp_path / "worst" / SHEET_NAME.replace(".jpg", ".json"))
    assert {entry.photo for entry in gallery.entries} == {frame.photo for frame in report.frames}
    assert gallery.entries[0].credit == "Ada, CC0-1.0, s"


def test_a_bridge_that_nobody_crosses_is_no_bridge(bundle: Path, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "bridge", bundle, "--data", data, "--per-photo", 1, "--threads", 1, "--json"]
    assert run([*map(str, words)]) == 1
    captured = capfd.readouterr()
    assert "The bridge is not proved. With predicted plans the tokens do not measurably matter." in captured.err
    assert all(e.delta_e_change.mean == 0 for e in result_of(captured.out, BridgeReport).effects)


@pytest.mark.parametrize("words", [["quality", "BUNDLE"], ["bridge", "BUNDLE"], ["steps"], ["looks"]])
def test_a_folder_without_photos_is_bad_input(
    words: list[str], bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = [str(bundle) if word == "BUNDLE" else word for word in words]
    assert run(["bench", *named, "--data", str(tmp_path)]) == 2
    assert "data prepare" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["quality", "looks", "bridge", "steps", "learning-curve"])
def test_every_command_has_an_example(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", name, "--help"]) == 0
    assert f"pocketcrafter bench {name}" in capfd.readouterr().out.split("Example:")[1]


def test_the_group_is_named_without_importing_torch() -> None:
    names = "import sys; from pocketcrafter.benchmarks.cli import bench; bench.list_commands(None)"
    script = f"{names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0  # noqa: S603 - our own words
    assert {"quality", "looks", "bridge", "steps", "learning-curve"} <= set(bench.list_commands(None))  # type: ignore[arg-type]
