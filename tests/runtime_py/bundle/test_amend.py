"""Results written into a finished bundle: it stays whole, whatever happens, and nothing else in it changes."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from pocketcrafter.runtime.bundle.gates import Figure, Metric
from pocketcrafter.runtime.bundle.integrity import DamagedBundleError
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Rung
from pocketcrafter.runtime.bundle.writer import amend

RUNG = Rung(rung=3, passed=True, how="photos", figures=(Figure(metric=Metric.DELTA_E_MEAN, value=0.2),))


def with_rung(manifest: Manifest) -> Manifest:
    (entry,) = manifest.components
    artifact = entry.artifacts["onnx"].model_copy(update={"rungs": (RUNG,)})
    return manifest.model_copy(update={"components": (entry.model_copy(update={"artifacts": {"onnx": artifact}}),)})


def hashes(root: Path) -> dict[str, str]:
    files = (p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_results_are_in_the_manifest_and_the_bundle_is_whole(bundle_dir: Path) -> None:
    before = hashes(bundle_dir)
    amend(bundle_dir, with_rung, {"reports/parity.json": b"{}"})
    bundle = Bundle.open(bundle_dir)
    bundle.check_integrity()
    assert bundle.manifest.components[0].artifacts["onnx"].rungs == (RUNG,)
    after = hashes(bundle_dir)
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {"manifest.json", "manifest.sha256", "reports/parity.json"}
    assert sorted(p.name for p in bundle_dir.parent.iterdir()) == [bundle_dir.name]


def test_a_report_is_replaced_without_touching_a_copy_that_shares_its_file(bundle_dir: Path, tmp_path: Path) -> None:
    amend(bundle_dir, with_rung, {"reports/parity.json": b"old"})
    (tmp_path / "copy").hardlink_to(bundle_dir / "reports/parity.json")
    amend(bundle_dir, with_rung, {"reports/parity.json": b"new"})
    assert (tmp_path / "copy").read_bytes() == b"old"
    assert (bundle_dir / "reports/parity.json").read_bytes() == b"new"


def test_a_zip_is_amended_too(bundle_dir: Path, tmp_path: Path) -> None:
    archive = tmp_path / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in (p for p in bundle_dir.rglob("*") if p.is_file()):
            zipped.write(file, f"tiny/{file.relative_to(bundle_dir).as_posix()}")
    amend(archive, with_rung, {})
    bundle = Bundle.open(archive)
    bundle.check_integrity()
    assert bundle.manifest.components[0].artifacts["onnx"].rungs == (RUNG,)


def test_a_damaged_bundle_is_not_sealed_anew(bundle_dir: Path) -> None:
    artifact = bundle_dir / "targets/onnx/restore.onnx"
    artifact.write_bytes(artifact.read_bytes()[::-1])
    before = hashes(bundle_dir)
    with pytest.raises(DamagedBundleError, match=r"restore\.onnx"):
        amend(bundle_dir, with_rung, {})
    assert hashes(bundle_dir) == before


def test_a_change_that_fails_leaves_everything_as_it_was(bundle_dir: Path) -> None:
    before = hashes(bundle_dir)

    def fail(_: Manifest) -> Manifest:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        amend(bundle_dir, fail, {"reports/parity.json": b"{}"})
    assert hashes(bundle_dir) == before
    assert sorted(p.name for p in bundle_dir.parent.iterdir()) == [bundle_dir.name]
