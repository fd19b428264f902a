"""Core ML packages are folders: a bundle lists their files."""

import json
from pathlib import Path
from typing import Any

import pytest

from pocketcrafter.runtime.bundle.manifest import parse_manifest
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.cli import run
from pocketcrafter.runtime.errors import BundleError


def _with_package(bundle: Path, files: list[str]) -> bytes:
    raw: dict[str, Any] = json.loads((bundle / "manifest.json").read_text())
    raw["targets"] = {"coreml:ios18": {"kind": "coreml:ios18", "backend": "mil-interpreter", "minimum_os": "iOS 18"}}
    component = raw["components"][0]
    component["artifacts"] = {"coreml:ios18": component["artifacts"]["onnx"]}
    component["artifacts"]["coreml:ios18"]["path"] = "targets/coreml-ios18/restore.mlpackage"
    kept = [entry for entry in raw["files"] if not entry["path"].startswith("targets/")]
    raw["files"] = kept + [{"path": path, "size": 1, "sha256": "0" * 64} for path in files]
    return json.dumps(raw).encode()


def test_a_package_is_in_the_bundle_when_its_files_are(bundle_dir: Path) -> None:
    listed = ["targets/coreml-ios18/restore.mlpackage/Manifest.json"]
    assert parse_manifest(_with_package(bundle_dir, listed), "here").targets["coreml:ios18"].minimum_os == "iOS 18"


@pytest.mark.parametrize("files", [[], ["targets/coreml-ios18/other.mlpackage/Manifest.json"]])
def test_a_package_without_files_is_missed(bundle_dir: Path, files: list[str]) -> None:
    with pytest.raises(BundleError, match=r"restore\.mlpackage is used but not in `files`"):
        parse_manifest(_with_package(bundle_dir, files), "here")


def test_a_package_weighs_what_its_files_do_and_can_be_inspected(
    bundle_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = [f"targets/coreml-ios18/restore.mlpackage/{name}" for name in ("Manifest.json", "Data/model.mlmodel")]
    (bundle_dir / "manifest.json").write_bytes(_with_package(bundle_dir, [*inside, "targets/restore.mlpackage2"]))
    manifest = parse_manifest((bundle_dir / "manifest.json").read_bytes(), "here")
    assert manifest.artifact_bytes(manifest.components[0].artifacts["coreml:ios18"]) == len(inside)
    for path in [*inside, "targets/restore.mlpackage2"]:
        (bundle_dir / path).parent.mkdir(parents=True, exist_ok=True)
        (bundle_dir / path).write_bytes(b"x" * (1 << 20))
    reseal(bundle_dir, manifest)
    assert run(["inspect", str(bundle_dir)]) == 0
    shown = capsys.readouterr().out
    assert "runs on mil-interpreter (iOS 18), 2.00 MiB" in shown
    assert "2.00 MiB" in next(line for line in shown.splitlines() if line.startswith("restore "))
