"""A bundle of many targets cut into bundles of one: each is whole, runs, and holds nothing of another target."""

import json
import time
from pathlib import Path

import pytest

from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.integrity import DamagedBundleError
from pocketcrafter.runtime.bundle.manifest import TargetEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import sqnr_gate
from pocketcrafter.runtime.bundle.split import split
from pocketcrafter.runtime.bundle.verify import verify
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.cli import run
from pocketcrafter.runtime.errors import GateError, StorageError
from pocketcrafter.runtime.targets import TargetKind

PACKAGE = "targets/coreml-ios18/restore.mlpackage"


@pytest.fixture
def two_targets(bundle_dir: Path) -> Path:
    """The bundle of one ONNX target, with a package for phones beside it."""
    manifest = Bundle.open(bundle_dir).manifest
    (bundle_dir / PACKAGE / "Data").mkdir(parents=True)
    (bundle_dir / PACKAGE / "Manifest.json").write_text("{}")
    (bundle_dir / PACKAGE / "Data" / "model.mlmodel").write_bytes(b"model")
    (entry,) = manifest.components
    coreml = entry.artifacts["onnx"].model_copy(update={"path": PACKAGE})
    components = (entry.model_copy(update={"artifacts": {**entry.artifacts, "coreml:ios18": coreml}}),)
    target = TargetEntry(kind=TargetKind("coreml:ios18"), backend=BackendName.MIL_INTERPRETER, minimum_os="iOS 18")
    targets = {**manifest.targets, "coreml:ios18": target}
    reseal(bundle_dir, manifest.model_copy(update={"components": components, "targets": targets}))
    return bundle_dir


def test_each_part_is_whole_and_holds_its_own_target_alone(two_targets: Path, tmp_path: Path) -> None:
    whole = {file.path for file in Bundle.open(two_targets).manifest.files}
    package = {path for path in whole if path.startswith(PACKAGE)}
    parts = split(two_targets, tmp_path / "parts")
    assert {target: part.name for target, part in parts.items()} == {
        "onnx": "tiny-onnx.pcbundle",
        "coreml:ios18": "tiny-coreml-ios18.pcbundle",
    }
    for target, part in parts.items():
        bundle = Bundle.open(part)
        bundle.check_integrity()
        assert list(bundle.manifest.targets) == [target]
        lacks = package if target == "onnx" else {"targets/onnx/restore.onnx"}
        assert {file.path for file in bundle.manifest.files} == whole - lacks
    assert verify(parts["onnx"], 1).ok
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == sorted(p.name for p in parts.values())


def test_parts_of_one_bundle_are_the_same_bytes_whenever_they_are_cut(two_targets: Path, tmp_path: Path) -> None:
    first = {t: p.read_bytes() for t, p in split(two_targets, tmp_path / "one").items()}
    for file in two_targets.rglob("*"):
        file.touch()
    time.sleep(2.1)  # a zip's times have a step of two seconds
    assert {t: p.read_bytes() for t, p in split(two_targets, tmp_path / "two").items()} == first


def test_what_onnx_runtime_runs_can_be_in_its_own_format(two_targets: Path, tmp_path: Path) -> None:
    plain, made = (split(two_targets, tmp_path / str(own), ort_format=own) for own in (False, True))
    paths = {target: {file.path for file in Bundle.open(part).manifest.files} for target, part in made.items()}
    assert "targets/onnx/restore.ort" in paths["onnx"]
    assert "targets/onnx/restore.onnx" not in paths["onnx"]
    assert made["coreml:ios18"].read_bytes() == plain["coreml:ios18"].read_bytes()
    reports = [verify(parts["onnx"], 1) for parts in (plain, made)]
    assert all(report.ok for report in reports)
    assert reports[0].goldens != ()


def test_a_golden_that_is_missed_in_the_other_format_leaves_nothing(two_targets: Path, tmp_path: Path) -> None:
    manifest = Bundle.open(two_targets).manifest
    (entry,) = manifest.components
    artifacts = {name: a.model_copy(update={"golden_gate": sqnr_gate(900.0)}) for name, a in entry.artifacts.items()}
    reseal(
        two_targets, manifest.model_copy(update={"components": (entry.model_copy(update={"artifacts": artifacts}),)})
    )
    with pytest.raises(
        GateError, match=r"In ORT format goldens are missed:\nrestore: SQNR .* the gate is SQNR >= 900 dB"
    ):
        split(two_targets, tmp_path / "parts", ort_format=True)
    assert not list((tmp_path / "parts").glob("*onnx*"))


def test_a_damaged_bundle_is_not_cut(two_targets: Path, tmp_path: Path) -> None:
    (two_targets / PACKAGE / "Manifest.json").write_text("[]")
    with pytest.raises(DamagedBundleError, match=r"Manifest\.json"):
        split(two_targets, tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


def test_parts_that_cannot_be_written_are_told(two_targets: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        split(two_targets, tmp_path / "parts")


def test_the_command_tells_paths_and_sizes(
    two_targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["split", str(two_targets), "--out", str(tmp_path / "parts"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {t: Path(part["path"]).stat().st_size for t, part in told.items()} == {
        t: part["bytes"] for t, part in told.items()
    }
    assert set(told) == {"onnx", "coreml:ios18"}
