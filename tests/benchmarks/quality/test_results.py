"""Result files: they round-trip, their summaries are computed anew, and anything else is refused with its place."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.picture_metrics import PictureFigures
from pocketcrafter.benchmarks.quality.pictures import OURS, FrameQuality, PeerFrame
from pocketcrafter.benchmarks.quality.results import QualityReport, read_quality
from pocketcrafter.benchmarks.quality.tables import quality_text
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import Attribute, EditPlan

Make = Callable[..., FrameQuality]


@pytest.fixture
def report(frame_quality: Make, report_of: Callable[..., QualityReport]) -> QualityReport:
    peer = PeerFrame(after=PictureFigures(psnr_db=30, ssim=0.9, delta_e=4), seconds=0.5)
    frames = [frame_quality(kind, true=EditPlan(dehaze=0.5)) for kind in (FrameKind.DEGRADED, FrameKind.CLEAN)]
    return report_of(*(frame.model_copy(update={"peers": {"a | b": peer}}) for frame in frames))


def test_a_report_survives_its_file(report: QualityReport, tmp_path: Path) -> None:
    path = tmp_path / "quality.json"
    path.write_text(report.model_dump_json())
    again = read_quality(path)
    assert again == report
    assert again.summary == report.summary
    assert json.loads(path.read_text())["summary"]["attributes"]["dehaze"]["present"] == 2


def test_a_summary_cannot_say_other_than_the_frames(report: QualityReport, tmp_path: Path) -> None:
    raw = json.loads(report.model_dump_json())
    raw["summary"]["kinds"]["degraded"]["psnr_gain_db"] = 99.0
    path = tmp_path / "embellished.json"
    path.write_text(json.dumps(raw))
    assert read_quality(path).summary.kinds[FrameKind.DEGRADED].psnr_gain_db == 0


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"frames": []}, "frames"),
        ({"schema_version": 2}, "schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"manifest_sha256": "x"}, "manifest_sha256"),
    ],
)
def test_what_is_no_result_is_refused_with_its_place(
    report: QualityReport, change: dict[str, object], place: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({**json.loads(report.model_dump_json()), **change}))
    with pytest.raises(ConfigError, match=f"not what `pocketcrafter bench quality --json` writes: {place}"):
        read_quality(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_quality(tmp_path / "missing.json")


def test_frames_with_different_peers_are_refused(report: QualityReport, frame_quality: Make) -> None:
    with pytest.raises(ValueError, match="same peers"):
        QualityReport(**{**dict(report), "frames": (*report.frames, frame_quality())})


def test_every_table_is_printed_with_as_many_cells_in_each_row(report: QualityReport) -> None:
    text = quality_text(report.summary)
    for block in (part for part in text.split("\n\n") if part.startswith("|")):
        lines = [line.replace("\\|", "") for line in block.splitlines()]
        assert len(lines) >= 3
        assert len({line.count("|") for line in lines}) == 1
    for words in (*Attribute, OURS, "a \\| b", "SRCC", "Plan R²"):
        assert words in text


def test_bars_in_cells_do_not_break_a_table() -> None:
    assert markdown(("a",), [("x|y",)]).splitlines()[-1] == "| x\\|y |"
