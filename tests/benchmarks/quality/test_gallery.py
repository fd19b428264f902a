"""The gallery: the worst frames, in order, with what was done and whose photo it is; a file that lies is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketcrafter.benchmarks.common.frames import MeasuredFrame
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.quality.gallery import (
    RESULT_NAME,
    SHEET_NAME,
    read_gallery,
    spread_frames,
    worst_frames,
    write_gallery,
)
from pocketcrafter.benchmarks.quality.pictures import FrameQuality, Outcome, measure
from pocketcrafter.export.data.manifest import PhotoRecord
from pocketcrafter.runtime.errors import ConfigError


def record(name: str, author: str = "Ada Ångström") -> PhotoRecord:
    digest = "0" * 64
    return PhotoRecord(
        file=f"heldout/{name}", source="a-package", group="a", licence="CC-BY-4.0", author=author,
        original=name, original_sha256=digest, prepared_sha256=digest, split="heldout", width=512, height=512, scale=1,
    )  # fmt: skip


@pytest.fixture
def outcomes(frames: list[MeasuredFrame], inverter: Any) -> list[Outcome]:
    return list(measure(frames[:3], inverter))


@pytest.fixture
def gallery(outcomes: list[Outcome], tmp_path: Path) -> Path:
    folder = tmp_path / "made" / "worst"
    write_gallery(outcomes, {o.quality.photo: record(o.quality.photo) for o in outcomes}, folder)
    return folder


def test_the_worst_come_first_and_earlier_ones_among_equals(frame_quality: Callable[..., FrameQuality]) -> None:
    changes = {"a": -5.0, "b": 3.0, "c": 1.0, "d": 3.0, "e": 0.0}
    measured = [frame_quality(photo=name, delta_e=(10, 10 + change)) for name, change in changes.items()]
    assert [quality.photo for quality in worst_frames(measured, most=3)] == ["b", "d", "c"]
    assert len(worst_frames(measured)) == 5


def test_a_spread_goes_from_the_best_to_the_worst_of_the_degraded(frame_quality: Callable[..., FrameQuality]) -> None:
    changes = {"a": -5.0, "b": 3.0, "c": 1.0, "d": -2.0, "e": 0.0}
    measured = [frame_quality(photo=name, delta_e=(10, 10 + change)) for name, change in changes.items()]
    measured.append(frame_quality(photo="clean", kind=FrameKind.CLEAN, delta_e=(0, 9)))
    assert [quality.photo for quality in spread_frames(measured, most=3)] == ["a", "e", "b"]
    assert [quality.photo for quality in spread_frames(measured)] == ["a", "d", "e", "c", "b"]


def test_the_sheet_shows_each_frame_where_its_entry_says(gallery: Path, outcomes: list[Outcome]) -> None:
    told, sheet = read_gallery(gallery)
    assert {path.name for path in gallery.iterdir()} == {SHEET_NAME, RESULT_NAME}
    for entry, outcome in zip(told.entries, outcomes, strict=True):
        frame = outcome.measured.frame
        for left, picture in zip(entry.left, (frame.degraded, outcome.enhanced, frame.clean), strict=True):
            side = told.picture_px
            shown = np.asarray(sheet.crop((left, entry.top, left + side, entry.top + side)))
            # JPEG and enlarging blur what is shown; its colors stay.
            np.testing.assert_allclose(shown.mean((0, 1)), picture.mean((0, 1)), atol=3)
        assert entry.carried_out == "+1.0 EV"
        assert entry.credit == "Ada Ångström, CC-BY-4.0, a-package"


def test_photographers_are_named_in_their_own_letters(outcomes: list[Outcome], tmp_path: Path) -> None:
    """A letter that a font lacks is drawn as the same box, whichever it is."""
    made = []
    for author in ("Saukonpää", "Saukonpöö", "Γιώργος", "Ставрос"):
        write_gallery(outcomes[:1], {outcomes[0].quality.photo: record(outcomes[0].quality.photo, author)}, tmp_path)
        made.append(read_gallery(tmp_path)[1].tobytes())
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("field", ["top", "left"])
def test_places_outside_the_sheet_are_refused(gallery: Path, field: str) -> None:
    raw = json.loads((gallery / RESULT_NAME).read_text())
    raw["entries"][0][field] = 60_000 if field == "top" else [0, 0, 60_000]
    (gallery / RESULT_NAME).write_text(json.dumps(raw))
    with pytest.raises(ConfigError, match="entry 0 lies outside the sheet"):
        read_gallery(gallery / RESULT_NAME)


def test_a_missing_or_false_sheet_and_a_foreign_file_are_refused(gallery: Path) -> None:
    (gallery / SHEET_NAME).write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_gallery(gallery)
    (gallery / RESULT_NAME).write_text('{"sheet": "../../etc/passwd"}')
    with pytest.raises(ConfigError, match="not what `bench quality --gallery` writes"):
        read_gallery(gallery)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_gallery(gallery / "missing.json")
