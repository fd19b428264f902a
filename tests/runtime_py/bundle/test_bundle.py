"""Opening a bundle: what is legal, what is refused, and that nothing that changed gets past."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.archive import pack
from pocketcrafter.runtime.bundle.integrity import DamagedBundleError, digest_text
from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.pocket import Pocket

FILES = [
    "manifest.json",
    "manifest.sha256",
    "LICENSES/Apache-2.0.txt",
    "goldens/restore/inputs_0.npz",
    "goldens/restore/outputs_0.npz",
    "targets/onnx/restore.onnx",
]


def open_fully(path: Path) -> Bundle:
    bundle = Bundle.open(path)
    bundle.check_integrity()
    return bundle


def zip_of(folder: Path, archive: Path, prefix: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(archive, "w", method) as zipped:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            zipped.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


def tile() -> dict[str, np.ndarray]:
    return {"tile": np.full((1, 3, 16, 16), 0.5, np.float32), "amounts": np.zeros((1, 3), np.float32)}


def test_the_list_of_files_is_the_whole_bundle(bundle_dir: Path) -> None:
    assert sorted(p.relative_to(bundle_dir).as_posix() for p in bundle_dir.rglob("*") if p.is_file()) == sorted(FILES)
    open_fully(bundle_dir)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_in_any_file_is_caught(bundle_dir: Path, name: str, data: st.DataObject) -> None:
    path = bundle_dir / name
    content = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    try:
        with pytest.raises(BundleError) as caught:
            open_fully(bundle_dir)
    finally:
        path.write_bytes(content)
    assert name in str(caught.value) or "manifest" in name
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle_dir: Path, name: str) -> None:
    (bundle_dir / name).unlink()
    with pytest.raises(BundleError, match=f"`{name}` is missing"):
        Bundle.open(bundle_dir)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_longer_file_is_refused(bundle_dir: Path, name: str) -> None:
    content = (bundle_dir / name).read_bytes()
    for other in (b"", content[:-1], content + b"\0"):
        (bundle_dir / name).write_bytes(other)
        with pytest.raises(BundleError):
            Bundle.open(bundle_dir)


@pytest.mark.parametrize("name", ["extra.txt", "targets/onnx/other.onnx", ".hidden", "new/deep/file"])
def test_an_extra_file_is_named(bundle_dir: Path, name: str) -> None:
    (bundle_dir / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle_dir / name).write_text("x")
    with pytest.raises(DamagedBundleError, match=f"`{name}` is not in the manifest"):
        open_fully(bundle_dir)


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need rights on Windows")
@pytest.mark.parametrize("linked", ["targets/onnx/restore.onnx", "targets/onnx", "manifest.json"])
def test_a_symbolic_link_is_refused_even_to_the_same_content(bundle_dir: Path, linked: str) -> None:
    outside = bundle_dir.parent / "outside"
    shutil.move(bundle_dir / linked, outside)
    (bundle_dir / linked).symlink_to(outside)
    with pytest.raises(BundleError, match="symbolic link"):
        Bundle.open(bundle_dir)


def test_an_extra_symbolic_link_is_refused(bundle_dir: Path) -> None:
    (bundle_dir / "more").symlink_to("/")
    with pytest.raises(DamagedBundleError, match="`more` is not in the manifest"):
        open_fully(bundle_dir)


def test_every_fault_is_listed_not_the_first(bundle_dir: Path) -> None:
    (bundle_dir / FILES[2]).unlink()
    (bundle_dir / FILES[3]).write_bytes(b"")
    with pytest.raises(DamagedBundleError) as caught:
        Bundle.open(bundle_dir)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("content", [None, b"", b"not a zip"])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "thing.pcbundle"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"thing\.pcbundle"):
        Bundle.open(path)


def test_an_empty_directory_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json` is missing"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("prefix", ["", "default.pcbundle/"])
def test_a_zip_opens_and_runs_like_its_directory(bundle_dir: Path, tmp_path: Path, prefix: str) -> None:
    zipped = open_fully(zip_of(bundle_dir, tmp_path / "b.zip", prefix))
    plain = Bundle.open(bundle_dir)
    outputs = [b.session(Pocket.RESTORE, threads=1).run(tile())["restored"] for b in (zipped, plain)]
    np.testing.assert_array_equal(*outputs)


def test_an_unpacked_zip_is_removed_with_its_bundle(bundle_dir: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(zip_of(bundle_dir, tmp_path / "b.zip"))
    root = bundle.root
    assert root.exists()
    del bundle
    assert not root.exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:\\evil", "a//b", "nul\\..\\evil"])
def test_a_zip_member_that_leaves_the_bundle_is_refused(bundle_dir: Path, tmp_path: Path, name: str) -> None:
    archive = zip_of(bundle_dir, tmp_path / "b.zip")
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr(zipfile.ZipInfo(name), b"evil")
    with pytest.raises(BundleError, match="does not stay inside"):
        Bundle.open(archive)
    assert not (tmp_path / "evil").exists()


def test_a_zip_with_a_link_is_refused(bundle_dir: Path, tmp_path: Path) -> None:
    archive = zip_of(bundle_dir, tmp_path / "b.zip")
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(BundleError, match="symbolic link"):
        Bundle.open(archive)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(bundle_dir: Path, tmp_path: Path) -> None:
    archive = zip_of(bundle_dir, tmp_path / "b.zip")
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb", b"\0" * (16 << 20))
    with pytest.raises(BundleError, match="compresses like that"):
        Bundle.open(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_a_repeated_name_is_refused(bundle_dir: Path, tmp_path: Path) -> None:
    archive = zip_of(bundle_dir, tmp_path / "b.zip")
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("manifest.json", b"{}")
    with pytest.raises(BundleError, match="twice"):
        Bundle.open(archive)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_zip_is_refused_or_gives_the_same_bundle(
    bundle_dir: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """A zip's own bookkeeping has bits that carry nothing; those that matter must be noticed."""
    archive = zip_of(bundle_dir, tmp_path / "b.zip", method=zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    archive.write_bytes(content)
    try:
        bundle = open_fully(archive)
    except BundleError:
        return
    assert bundle.manifest == Bundle.open(bundle_dir).manifest


def test_a_truncated_zip_is_refused(bundle_dir: Path, tmp_path: Path) -> None:
    archive = zip_of(bundle_dir, tmp_path / "b.zip")
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(BundleError):
        Bundle.open(archive)


def test_a_backend_without_a_target_is_an_error_not_a_fallback(bundle_dir: Path) -> None:
    bundle = Bundle.open(bundle_dir)
    with pytest.raises(BundleError, match="no target for the backend executorch; the bundle has onnx"):
        bundle.session(Pocket.RESTORE, threads=1, backend=BackendName.EXECUTORCH)


def test_an_absent_component_is_named_with_those_there_are(bundle_dir: Path) -> None:
    with pytest.raises(BundleError, match="no component `critic`; it has restore"):
        Bundle.open(bundle_dir).session(Pocket.CRITIC, threads=1)


CLUTTER = (".DS_Store", "Thumbs.db", "targets/Desktop.ini", "targets/onnx/._restore.onnx", "__MACOSX/._manifest.json")


def test_what_finder_and_explorer_leave_behind_is_not_looked_at(bundle_dir: Path, tmp_path: Path) -> None:
    packed = zip_of(bundle_dir, tmp_path / "finder.zip", prefix="tiny.pcbundle/")
    with zipfile.ZipFile(packed, "a") as zipped:
        for name in CLUTTER:
            zipped.writestr(name if name.startswith("__MACOSX") else f"tiny.pcbundle/{name}", b"\0\5\x16\7")
        zipped.writestr("__MACOSX/tiny.pcbundle/._manifest.json", b"\0\5\x16\7")
    unpacked = open_fully(packed)
    assert sorted(p.relative_to(unpacked.root).as_posix() for p in unpacked.root.rglob("*") if p.is_file()) == sorted(
        FILES
    )
    for name in CLUTTER:
        (bundle_dir / name).parent.mkdir(exist_ok=True)
        (bundle_dir / name).write_bytes(b"\0\5\x16\7")
    open_fully(bundle_dir)
    assert [f.path for f in reseal(bundle_dir, Bundle.open(bundle_dir).manifest).files] == FILES[2:]
    pack(bundle_dir, tmp_path / "again.zip")
    with zipfile.ZipFile(tmp_path / "again.zip") as zipped:
        assert sorted(zipped.namelist()) == sorted(FILES)
    (bundle_dir / "extra").write_text("x")
    with pytest.raises(DamagedBundleError, match="`extra` is not in the manifest"):
        open_fully(bundle_dir)


def test_a_full_temporary_folder_is_told_as_such(bundle_dir: Path, tmp_path: Path) -> None:
    """A limit on the size of files fails as a full disk does: in the middle of a write."""
    resource = pytest.importorskip("resource")
    packed = zip_of(bundle_dir, tmp_path / "tiny.zip")
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (512, {resource.RLIM_INFINITY}))\n"
        "from pocketcrafter.runtime.cli import run\n"
        f"raise SystemExit(run(['inspect', {str(packed)!r}]))"
    )
    (room := tmp_path / "room").mkdir()
    told = subprocess.run(  # noqa: S603 - Python itself
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(room)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2, told.stderr
    assert f"the temporary folder {room}" in told.stderr
    assert "set TMPDIR" in told.stderr
    assert "damaged" not in told.stderr
    assert not list(room.glob("pcbundle-*"))


def test_no_temporary_folder_at_all_is_told_as_such(
    bundle_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(BundleError, match="no temporary folder to unpack it to"):
        Bundle.open(zip_of(bundle_dir, tmp_path / "tiny.zip"))


def test_a_key_given_twice_in_a_manifest_is_an_error(bundle_dir: Path) -> None:
    content = (
        (bundle_dir / MANIFEST).read_bytes().replace(b'{\n "components"', b'{\n "name": "other",\n "components"', 1)
    )
    (bundle_dir / MANIFEST).write_bytes(content)
    (bundle_dir / DIGEST).write_bytes(digest_text(content))
    with pytest.raises(BundleError, match=r"manifest\.json: not JSON: the key 'name' is there twice"):
        Bundle.open(bundle_dir)
