import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketcrafter.export.data.candidates import hashed_split
from pocketcrafter.export.data.prepare import prepare
from pocketcrafter.runtime import cli


@pytest.fixture
def prepared(tmp_path: Path, write_photo: Callable[..., Path], camera_data: Path) -> Path:
    """Three prepared photos and what is measured of cameras."""
    for seed in range(3):
        write_photo(tmp_path / "album" / f"{seed}.jpg", seed=seed)
    prepare(tmp_path / "data", photos=[tmp_path / "album"], only=())
    for file in camera_data.iterdir():
        shutil.copy(file, tmp_path / "data")
    return tmp_path / "data"


def degrade(prepared: Path, out: Path, *more: str) -> int:
    places = ["--data", str(prepared), "--out", str(out), "--split", hashed_split("album").value, "--side", "96"]
    return cli.run(["data", "degrade", *places, *more])


def test_frames_of_any_number_of_photos_are_the_same_and_an_interrupted_run_goes_on(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert degrade(prepared, tmp_path / "all", "--per-photo", "2", "--json") == 0
    frames = [Path(name) for name in json.loads(capsys.readouterr().out)["frames"]]
    assert sorted((tmp_path / "all").iterdir()) == sorted(frames)
    pictures = [np.asarray(Image.open(path)) for path in frames]
    assert {p.shape for p in pictures} == {(96, 96, 3)}
    assert len({p.tobytes() for p in pictures}) == 6
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in frames}
    frames[3].unlink()
    assert degrade(prepared, tmp_path / "all", "--per-photo", "2") == 0
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in frames}
    assert {name for name in before if before[name] != after[name]} == {frames[3].name}
    assert after[frames[3].name][0] == before[frames[3].name][0]
    assert degrade(prepared, tmp_path / "one", "--most-photos", "1") == 0
    (one,) = (tmp_path / "one").iterdir()
    assert one.read_bytes() == before[one.name][0]


def test_a_damaged_profile_is_named_before_any_frame(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (prepared / "lenses.json").write_text("[")
    assert degrade(prepared, tmp_path / "out") == 2
    assert "lenses.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
