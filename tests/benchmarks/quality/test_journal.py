"""The journal: frames come back as they went in, a torn line is forgotten, another measurement's frames are refused."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.quality.pictures import FrameQuality
from pocketcrafter.benchmarks.quality.results import Journal, JournalHead
from pocketcrafter.runtime.errors import ConfigError

Make = Callable[..., FrameQuality]


def head(**change: object) -> JournalHead:
    told = {
        "manifest_sha256": "0" * 64, "split": "heldout", "seed": 1, "photos": ("a.png", "b.png"), "per_photo": 1,
        "kinds": (FrameKind.NOISE,), "peers": (), "features": False, "brisque": False, "backend": "auto", "threads": 1,
    }  # fmt: skip
    return JournalHead.model_validate({**told, **change})


@pytest.fixture
def kept(frame_quality: Make, tmp_path: Path) -> tuple[Path, list[FrameQuality]]:
    path = tmp_path / "made" / "journal.jsonl"
    frames = [frame_quality(FrameKind.NOISE, photo=name) for name in ("a.png", "b.png")]
    with closing(Journal(path, head())) as journal:
        assert journal.done == {}
        for frame in frames:
            journal.add(frame)
    return path, frames


def test_frames_come_back(kept: tuple[Path, list[FrameQuality]]) -> None:
    path, frames = kept
    with closing(Journal(path, head())) as journal:
        assert list(journal.done.values()) == frames
        assert set(journal.done) == {frame.key for frame in frames}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(share=st.floats(0, 1))
def test_wherever_it_was_cut_off_whole_frames_stay_and_it_goes_on(
    share: float, kept: tuple[Path, list[FrameQuality]], frame_quality: Make
) -> None:
    path, frames = kept
    whole = path.read_bytes()
    torn = path.with_name("torn.jsonl")
    torn.write_bytes(whole[: round(share * len(whole))])
    with closing(Journal(torn, head())) as journal:
        held = list(journal.done.values())
        assert held == frames[: len(held)]
        journal.add(frame_quality(FrameKind.NOISE, photo="c.png"))
    with closing(Journal(torn, head())) as journal:
        assert [quality.photo for quality in journal.done.values()] == [*(f.photo for f in held), "c.png"]


@pytest.mark.parametrize("change", [{"manifest_sha256": "1" * 64}, {"per_photo": 2}, {"features": True}])
def test_frames_of_another_measurement_are_refused(
    change: dict[str, object], kept: tuple[Path, list[FrameQuality]]
) -> None:
    before = kept[0].read_bytes()
    with pytest.raises(ConfigError, match="another measurement"):
        Journal(kept[0], head(**change))
    assert kept[0].read_bytes() == before


@pytest.mark.parametrize("text", ["milk\neggs\n", "milk"])
def test_what_is_no_journal_is_refused_and_stays(text: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(ConfigError, match="no journal"):
        Journal(tmp_path / "notes.txt", head())
    assert (tmp_path / "notes.txt").read_text() == text
    with pytest.raises(ConfigError, match="cannot be opened"):
        Journal(tmp_path, head())
