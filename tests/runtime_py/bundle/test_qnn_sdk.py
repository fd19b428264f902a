"""QNN's folder for ExecuTorch is links into the wheel, checked before any native code sees it."""

import os
import platform
import sys
from pathlib import Path

import pytest

from pocketcrafter.runtime.backends.qnn_sdk import qnn_environment, sdk_folder
from pocketcrafter.runtime.errors import BackendError

_LIBRARIES = ("libonnxruntime_providers_qnn.so", "libQnnHtp.so", "libHtpPrepare.so", "libQnnSystem.so", "libQnnIr.so")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that packages are looked for in, with a wheel of empty libraries."""
    folder = tmp_path / "site"
    package = folder / "onnxruntime_qnn"
    package.mkdir(parents=True)
    for name in ("__init__.py", *_LIBRARIES):
        (package / name).touch()
    info = folder / "onnxruntime_qnn-2.5.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-qnn\nVersion: 2.5.0\n")
    (folder / "onnxruntime_qnn.libs").mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_the_folder_links_every_library_and_those_that_they_need(site: Path) -> None:
    folder = sdk_folder()
    libraries = folder / "lib" / "x86_64-linux-clang"
    assert {p.name for p in libraries.iterdir()} == set(_LIBRARIES[1:])
    assert (libraries / "libQnnHtp.so").resolve() == site / "onnxruntime_qnn" / "libQnnHtp.so"
    assert (folder / "lib" / "onnxruntime_qnn.libs").resolve() == site / "onnxruntime_qnn.libs"


def test_a_link_that_leads_elsewhere_is_mended(site: Path, tmp_path: Path) -> None:
    link = sdk_folder() / "lib" / "x86_64-linux-clang" / "libQnnHtp.so"
    link.unlink()
    link.symlink_to(tmp_path / "gone.so")
    assert sdk_folder() == link.parents[2]
    assert link.resolve() == site / "onnxruntime_qnn" / "libQnnHtp.so"


@pytest.mark.usefixtures("site")
def test_the_variables_keep_what_the_user_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/mine")
    variables = qnn_environment()
    root = Path(variables["QNN_SDK_ROOT"])
    assert variables["LD_LIBRARY_PATH"].split(os.pathsep) == [str(root / "lib" / "x86_64-linux-clang"), "/opt/mine"]


def test_an_incomplete_wheel_never_becomes_a_folder(site: Path, tmp_path: Path) -> None:
    (site / "onnxruntime_qnn" / "libQnnSystem.so").unlink()
    with pytest.raises(BackendError, match=r"lacks libQnnSystem\.so"):
        sdk_folder()
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("site")
def test_a_cache_that_cannot_be_written_says_which_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(BackendError, match="Set XDG_CACHE_HOME"):
        sdk_folder()
