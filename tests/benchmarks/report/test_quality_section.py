"""The report's quality: every table that was measured, the gates that were missed, the worst frames."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.picture_metrics import PictureFigures
from pocketcrafter.benchmarks.quality.gallery import RESULT_NAME, SHEET_NAME, Gallery, GalleryEntry, read_gallery
from pocketcrafter.benchmarks.quality.pictures import FrameQuality, PeerFrame
from pocketcrafter.benchmarks.quality.results import QualityReport
from pocketcrafter.benchmarks.report.command import report_command
from pocketcrafter.benchmarks.report.page import report_page
from pocketcrafter.benchmarks.report.photos import failures_of
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.plan import Attribute, EditPlan

HOSTILE = '</script><img src="https://example.com/x.png" onerror="alert(1)">'
Make = Callable[..., FrameQuality]


def words_of(page: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


@pytest.fixture
def quality(frame_quality: Make, report_of: Callable[..., QualityReport]) -> QualityReport:
    peer = PeerFrame(after=PictureFigures(psnr_db=30, ssim=0.9, delta_e=4, feature_distance=0.3), seconds=0.5)
    frames = [
        frame_quality(kind, true=EditPlan(contrast=0.1), plan=EditPlan(contrast=0.5), delta_e=(9, 7), photo=HOSTILE)
        for kind in (FrameKind.DEGRADED, FrameKind.CLEAN)
    ]
    return report_of(*(frame.model_copy(update={"peers": {HOSTILE: peer}}) for frame in frames))


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    folder = tmp_path / "worst"
    folder.mkdir()
    sheet = np.zeros((40, 120, 3), dtype=np.uint8)
    sheet[:, 40:80, 0], sheet[:, 80:, 2] = 255, 255
    Image.fromarray(sheet).save(folder / SHEET_NAME, quality=95, subsampling=0)
    entry = GalleryEntry(
        kind=FrameKind.NOISE, photo=HOSTILE, repeat=0, true_plan="denoise 0.4", carried_out="left as it is",
        delta_e_before=3, delta_e_after=5.5, credit="Ada Ångström", left=(0, 40, 80), top=0,
    )  # fmt: skip
    (folder / RESULT_NAME).write_text(Gallery(picture_px=40, entries=(entry,)).model_dump_json())
    return folder


@pytest.mark.parametrize(("gain", "missed"), [(0.5, True), (4.0, False)])
def test_gates_that_were_missed_are_named(
    gain: float, missed: bool, bundle: Path, frame_quality: Make, report_of: Callable[..., QualityReport]
) -> None:
    report = report_of(frame_quality(FrameKind.NOISE, psnr_db=(25, 25 + gain)))
    words = words_of(report_page(Bundle.open(bundle), quality=report))
    assert f"+{gain:.2f} dB" in words
    assert ("Gates missed" in words) is missed


def test_every_table_is_there_and_harm_is_told(bundle: Path, quality: QualityReport) -> None:
    words = words_of(report_page(Bundle.open(bundle), quality=quality))
    for heading in ("What the critic knows of each attribute", "How the score ranks", "The same frames by others"):
        assert heading in words
    assert all(attribute.partition("_")[0] in words for attribute in Attribute)
    assert "+0.3 of 0.1 worse" in words
    assert "Measured on another build of this bundle." in words


def test_what_was_not_measured_has_no_table(
    bundle: Path, frame_quality: Make, report_of: Callable[..., QualityReport]
) -> None:
    words = words_of(report_page(Bundle.open(bundle), quality=report_of(frame_quality(FrameKind.NOISE))))
    assert "The same frames by others" not in words
    assert "What the critic knows" not in words
    assert "Worst frames" not in words


def test_a_failure_is_cut_from_where_its_entry_says(gallery: Path) -> None:
    (failure,) = failures_of(*read_gallery(gallery))
    assert len({failure.before, failure.after, failure.clean}) == 3
    assert failure.side == 40
    assert all(p.startswith("data:image/jpeg;base64,") for p in (failure.before, failure.after, failure.clean))


def test_the_command_takes_quality_and_gallery_and_hostile_names_stay_words(
    bundle: Path, quality: QualityReport, gallery: Path, tmp_path: Path, browser: Any
) -> None:
    (tmp_path / "quality.json").write_text(quality.model_dump_json())
    out = tmp_path / "report.html"
    arguments = [str(bundle), "--out", str(out), "--quality", str(tmp_path / "quality.json"), "--gallery", str(gallery)]
    result = CliRunner().invoke(report_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    browser.open(out)
    assert browser.evaluate("document.querySelectorAll('.failures img').length") == 3
    assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth == 40)")
    assert browser.evaluate("document.querySelectorAll('script').length") == 1
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("data:", "file:"))] == []
    for width in (320, 390, 1280):
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
