import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketcrafter.export.data.errors import FetchError, ResourceFileError
from pocketcrafter.export.data.packages import PackageCache, unpack_resource_files
from pocketcrafter.export.data.sources import PackageKind

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="builds a real Debian package")


def build_deb(downloads: Path, content: dict[str, bytes]) -> None:
    tree = downloads.parent / "source-tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: some-photos\nVersion: 1.0\nArchitecture: all\n"
        "Maintainer: Nobody <a@example.org>\nDescription: photos\n"
    )
    for name, data in content.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    downloads.mkdir(parents=True)
    archive = downloads / "some-photos_1.0_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), str(archive)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


@needs_dpkg
def test_a_debian_package_in_the_cache_is_unpacked_once_and_not_fetched(tmp_path: Path) -> None:
    build_deb(tmp_path / "cache/downloads", {"usr/share/a.txt": b"hello"})
    cache = PackageCache(tmp_path / "cache")
    tree, record = cache.open("some-photos")
    assert (tree / "usr/share/a.txt").read_bytes() == b"hello"
    assert record.archive == "some-photos_1.0_all.deb"
    (tree / "usr/share/a.txt").write_bytes(b"kept")
    assert (cache.open("some-photos")[0] / "usr/share/a.txt").read_bytes() == b"kept"


@needs_dpkg
def test_a_damaged_debian_package_is_refused_and_leaves_no_half_tree(tmp_path: Path) -> None:
    build_deb(tmp_path / "cache/downloads", {"usr/share/a.txt": b"hello" * 10_000})
    archive = tmp_path / "cache/downloads/some-photos_1.0_all.deb"
    archive.write_bytes(archive.read_bytes()[:9_000])
    with pytest.raises(FetchError, match="cannot be unpacked: delete it"):
        PackageCache(tmp_path / "cache").open("some-photos")
    assert not list((tmp_path / "cache/extracted").iterdir())


def test_a_missing_tool_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=r"apt-get is not on this machine.*--source"):
        PackageCache(tmp_path / "cache").open("some-photos")


def test_a_wheel_is_unpacked_inside_its_own_folder(tmp_path: Path) -> None:
    downloads = tmp_path / "cache/downloads"
    downloads.mkdir(parents=True)
    with zipfile.ZipFile(downloads / "some_photos-0.2.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("photos/a.jpg", b"jpeg")
        wheel.writestr("../../../evil.txt", b"evil")
    tree, _ = PackageCache(tmp_path / "cache").open("some-photos", PackageKind.PYPI, "0.2.0")
    assert (tree / "photos/a.jpg").read_bytes() == b"jpeg"
    outside = [p for p in tmp_path.rglob("evil.txt") if not p.is_relative_to(tree)]
    assert not outside


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    downloads = tmp_path / "cache/downloads"
    downloads.mkdir(parents=True)
    (downloads / "some_photos-0.2.0-py3-none-any.whl").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(FetchError, match="cannot be unpacked"):
        PackageCache(tmp_path / "cache").open("some-photos", PackageKind.PYPI, "0.2.0")


def test_resource_files_are_unpacked_behind_their_resource_folder(
    tmp_path: Path, make_resource_file: Callable[..., bytes]
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "erase.rcc").write_bytes(make_resource_file({"app/erase/resource/x/a.webp": b"A", "app/Main.qml": b"B"}))
    root = unpack_resource_files(tree, ["erase.rcc"])
    assert (root / "erase/x/a.webp").read_bytes() == b"A"
    assert (root / "erase/app/Main.qml").read_bytes() == b"B"


def test_members_that_claim_one_name_are_refused(tmp_path: Path, make_resource_file: Callable[..., bytes]) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.rcc").write_bytes(make_resource_file({"one/resource/x": b"A", "two/resource/x": b"B"}))
    with pytest.raises(FetchError, match="two members"):
        unpack_resource_files(tree, ["a.rcc"])


def test_missing_and_damaged_resource_files_are_refused(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with pytest.raises(FetchError, match=r"has no gone\.rcc"):
        unpack_resource_files(tree, ["gone.rcc"])
    (tree / "bad.rcc").write_bytes(b"qresbad")
    with pytest.raises(ResourceFileError):
        unpack_resource_files(tree, ["bad.rcc"])
    assert [p.name for p in tmp_path.iterdir()] == ["tree"]
