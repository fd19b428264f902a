import json
from pathlib import Path
from typing import Any

import pytest

from pocketcrafter.export.data.errors import DataError, SplitError
from pocketcrafter.export.data.manifest import (
    Manifest,
    PhotoRecord,
    Split,
    check_split,
    file_sha256,
    load_manifest,
    save_manifest,
)


def record(name: str, **changes: Any) -> PhotoRecord:
    values: dict[str, Any] = {
        "file": f"train/{name}.png",
        "source": "some-package",
        "group": "some-package",
        "licence": "CC0-1.0",
        "author": "Ada Lovelace",
        "original": f"{name}.jpg",
        "original_sha256": name.encode().hex().ljust(64, "0"),
        "prepared_sha256": "0" * 64,
        "split": "train",
        "width": 800,
        "height": 600,
        "scale": 1.5,
    }
    return PhotoRecord.model_validate(values | changes)


def heldout(name: str, **changes: Any) -> PhotoRecord:
    return record(name, file=f"heldout/{name}.png", split="heldout", source="other", group="other", **changes)


def test_a_group_on_two_sides_is_refused_and_both_files_are_named() -> None:
    other = record("b", file="validation/b.png", split="validation", author="Grace Hopper")
    with pytest.raises(SplitError, match=r"'some-package'(?s:.)*train/a\.png(?s:.)*validation/b\.png"):
        check_split([record("a"), other])


@pytest.mark.parametrize("spelling", ["Ada Lovelace", "ada  LOVELACE", "Grace Hopper; Ada Lovelace", "Ada Lovelacé"])
def test_a_photographer_on_two_sides_is_refused_however_spelled(spelling: str) -> None:
    with pytest.raises(SplitError, match="photographer 'ada lovelace'"):
        check_split([record("a"), heldout("b", author=spelling)])


@pytest.mark.parametrize("nobody", ["see file name", "unknown", "", "Budgie Backgrounds contributors", "LXQt team"])
def test_an_author_that_names_nobody_counts_only_inside_its_source(nobody: str) -> None:
    check_split([record("a", author=nobody), heldout("b", author=nobody)])
    with pytest.raises(SplitError):
        check_split(
            [record("a", author=nobody), heldout("b", author=nobody).model_copy(update={"source": "some-package"})]
        )


def test_the_same_original_on_two_sides_is_refused() -> None:
    twin = heldout("b", author="Grace Hopper", original_sha256=record("a").original_sha256)
    with pytest.raises(SplitError, match="photo with sha256"):
        check_split([record("a"), twin])


def test_photos_of_a_side_come_in_the_order_of_their_names() -> None:
    manifest = Manifest(recipe_version=1, records=(record("b"), record("a"), heldout("c", author="Grace Hopper")))
    assert [r.file for r in manifest.photos(Split.TRAIN)] == ["train/a.png", "train/b.png"]
    assert [r.file for r in manifest.photos("heldout")] == ["heldout/c.png"]
    with pytest.raises(DataError, match="train, validation, heldout"):
        manifest.photos("test")


def test_a_saved_manifest_comes_back_equal(tmp_path: Path) -> None:
    manifest = Manifest(recipe_version=1, records=(record("a", author="Štefan טל"),))
    save_manifest(manifest, tmp_path)
    assert load_manifest(tmp_path) == manifest


def test_an_edited_manifest_that_breaks_the_split_is_refused(tmp_path: Path) -> None:
    path = save_manifest(Manifest(recipe_version=1, records=(record("a"), record("b"))), tmp_path)
    path.write_text(path.read_text().replace("train/b.png", "heldout/b.png"))
    values = json.loads(path.read_text())
    values["records"][1]["split"] = "heldout"
    path.write_text(json.dumps(values))
    with pytest.raises(SplitError):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    "file", ["../a.png", "/etc/a.png", "train/../../a.png", "heldout/a.png", "train/x/a.png", "train"]
)
def test_a_path_that_is_no_photo_of_its_side_is_refused(tmp_path: Path, file: str) -> None:
    path = save_manifest(Manifest(recipe_version=1, records=(record("a"),)), tmp_path)
    values = json.loads(path.read_text())
    values["records"][0]["file"] = file
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match="not a valid manifest"):
        load_manifest(tmp_path)


def test_a_missing_manifest_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pocketcrafter data prepare --out"):
        load_manifest(tmp_path)


def test_verification_names_a_changed_and_a_missing_photo(tmp_path: Path) -> None:
    records = []
    for name in "abc":
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / f"train/{name}.png").write_bytes(name.encode() * 50)
        records.append(record(name, prepared_sha256=file_sha256(tmp_path / f"train/{name}.png")))
    save_manifest(Manifest(recipe_version=1, records=tuple(records)), tmp_path)
    load_manifest(tmp_path, verify=True)
    (tmp_path / "train/b.png").write_bytes(b"b" * 49 + b"c")
    (tmp_path / "train/c.png").unlink()
    with pytest.raises(DataError, match=r"2 of 3 files(?s:.)*train/b\.png(?s:.)*train/c\.png"):
        load_manifest(tmp_path, verify=True)
