import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketcrafter.export.data.candidates import hashed_split
from pocketcrafter.export.data.cli import data
from pocketcrafter.export.data.errors import DataError, SplitError
from pocketcrafter.export.data.manifest import Split, load_manifest
from pocketcrafter.export.data.prepare import JOURNAL_NAME, prepare
from pocketcrafter.runtime import cli
from pocketcrafter.runtime.cli import run

WritePhoto = Callable[..., Path]


@pytest.fixture
def album(tmp_path: Path, write_photo: WritePhoto) -> Path:
    for k in range(4):
        write_photo(tmp_path / "album" / f"{k}.jpg", seed=k)
    return tmp_path / "album"


def changed(out: Path) -> dict[str, int]:
    return {p.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in out.glob("*/*.png")}


def test_a_folder_becomes_photos_and_a_manifest_that_verifies(tmp_path: Path, album: Path) -> None:
    out = tmp_path / "out"
    made = prepare(out, photos=[album], only=())
    assert load_manifest(out, verify=True) == made
    assert [r.original for r in made.photos(hashed_split("album"))] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert {r.group for r in made.records} == {"album"}
    assert set(changed(out)) == {r.file for r in made.records}
    assert not (out / JOURNAL_NAME).exists()


def test_names_of_any_bytes_hidden_files_and_damaged_photos_lose_nobody_elses(
    tmp_path: Path, album: Path, write_photo: WritePhoto, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = os.fsdecode(b"caf\xe9")
    write_photo(album / "new.jpg", seed=7).rename(album / f"{odd}.jpg")
    write_photo(album / "new.jpg", seed=8).rename(album / "eight.jfif")
    write_photo(album / "new.jpg", seed=9).rename(album / f"broken {odd}.jpg")
    (album / f"broken {odd}.jpg").write_bytes((album / f"broken {odd}.jpg").read_bytes()[:3000])
    (album / "empty.avif").touch()
    (album / ".thumbnails").mkdir()
    for hidden in ("._0.jpg", ".thumbnails/0.jpg"):
        (album / hidden).write_bytes(b"\0\5\x16\7")
    (album / "loop.jpg").symlink_to("loop.jpg")
    out = tmp_path / "out"
    assert cli.run(["data", "prepare", "--source", "none", "--photos", str(album), "--out", str(out), "--json"]) == 0
    left_out = {record["original"] for record in json.loads(capsys.readouterr().out)["left_out"]}
    assert left_out == {"broken caf\\xe9.jpg", "empty.avif"}
    originals = {record.original for record in load_manifest(out, verify=True).records}
    assert originals == {"0.jpg", "1.jpg", "2.jpg", "3.jpg", "caf\\xe9.jpg", "eight.jfif"}


def test_a_second_run_makes_only_what_is_missing_or_damaged(tmp_path: Path, album: Path) -> None:
    out = tmp_path / "out"
    first = prepare(out, photos=[album], only=())
    before = changed(out)
    damaged, missing, *_ = before
    (out / damaged).write_bytes(b"damaged")
    (out / missing).unlink()
    assert prepare(out, photos=[album], only=()) == first
    after = changed(out)
    assert {name for name in before if after[name] != before[name]} == {damaged, missing}
    load_manifest(out, verify=True)


def test_a_run_that_was_interrupted_goes_on_where_it_was(tmp_path: Path, album: Path) -> None:
    out = tmp_path / "out"

    def interrupt(what: str, done: int, _total: int) -> None:
        if what == "preparing photos" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(out, photos=[album], only=(), workers=1, progress=interrupt)
    assert not (out / "manifest.json").exists()
    finished = [json.loads(line)["file"] for line in (out / JOURNAL_NAME).read_text().splitlines()]
    assert len(finished) == 2
    before = changed(out)
    (out / JOURNAL_NAME).open("a").write('{"file": "train/half a li')
    prepare(out, photos=[album], only=())
    after = changed(out)
    assert len(after) == 4
    assert all(after[name] == before[name] for name in finished)


def test_a_photo_that_left_its_folder_leaves_the_set(tmp_path: Path, album: Path) -> None:
    out = tmp_path / "out"
    prepare(out, photos=[album], only=())
    (album / "2.jpg").unlink()
    made = prepare(out, photos=[album], only=())
    assert [r.original for r in made.records] == ["0.jpg", "1.jpg", "3.jpg"]
    assert set(changed(out)) == {r.file for r in made.records}


def test_bad_photos_and_duplicates_are_left_out_with_a_reason(
    tmp_path: Path, album: Path, write_photo: WritePhoto
) -> None:
    (album / "bad.jpg").write_text("no photo")
    write_photo(album / "small.jpg", (300, 300))
    (album / "twin.jpg").write_bytes((album / "0.jpg").read_bytes())
    made = prepare(tmp_path / "out", photos=[album], only=())
    reasons = {r.original: r.reason for r in made.left_out}
    assert len(made.records) == 4
    assert set(reasons) == {"bad.jpg", "small.jpg", "twin.jpg"}
    assert "below 512" in reasons["small.jpg"]
    assert "same file as 0.jpg" in reasons["twin.jpg"]


def test_two_names_that_differ_only_in_odd_characters_stay_two_photos(tmp_path: Path, write_photo: WritePhoto) -> None:
    for seed, name in enumerate(["a b.jpg", "a+b.jpg", "A-B.jpg"]):
        write_photo(tmp_path / "album" / name, seed=seed)
    made = prepare(tmp_path / "out", photos=[tmp_path / "album"], only=())
    assert len({r.file.casefold() for r in made.records}) == 3


def two_sources_on_two_sides(folder: Path, write_photo: WritePhoto) -> None:
    names = [f"camera {k}" for k in range(100)]
    train = next(n for n in names if hashed_split(n.replace(" ", "-")) is Split.TRAIN)
    validation = next(n for n in names if hashed_split(n.replace(" ", "-")) is Split.VALIDATION)
    write_photo(folder / "a.jpg", seed=1)
    write_photo(folder / "b.jpg", seed=2)
    rows = f"a.jpg,{train},CC0-1.0,Ada Lovelace\nb.jpg,{validation},CC0-1.0,ada lovelace\n"
    (folder / "MANIFEST.csv").write_text("file,source,licence,author\n" + rows)


def test_a_photographer_on_both_sides_is_refused_before_anything_is_made(
    tmp_path: Path, write_photo: WritePhoto
) -> None:
    two_sources_on_two_sides(tmp_path / "album", write_photo)
    with pytest.raises(SplitError, match="photographer 'ada lovelace'"):
        prepare(tmp_path / "out", photos=[tmp_path / "album"], only=())
    assert not (tmp_path / "out").exists()


def test_an_unknown_source_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gcompris-qt-data"):
        prepare(tmp_path, only=["no-such-package"])


def test_the_command_prints_json_alone_on_stdout(tmp_path: Path, album: Path) -> None:
    run = CliRunner().invoke(
        data, ["prepare", "--out", str(tmp_path / "out"), "--photos", str(album), "--source", "none", "--json"]
    )
    assert run.exit_code == 0, run.stderr
    result = json.loads(run.stdout)
    assert sum(result["photos"].values()) == 4
    assert Path(result["manifest"]).is_file()


def test_the_command_reports_bad_input_without_a_traceback(
    tmp_path: Path, write_photo: WritePhoto, capsys: pytest.CaptureFixture[str]
) -> None:
    two_sources_on_two_sides(tmp_path / "album", write_photo)
    folders = ["--out", str(tmp_path / "out"), "--photos", str(tmp_path / "album")]
    assert run(["data", "prepare", *folders, "--source", "none"]) == 2
    told = capsys.readouterr()
    assert "a.png" in told.err
    assert "b.png" in told.err
    assert told.out == ""
