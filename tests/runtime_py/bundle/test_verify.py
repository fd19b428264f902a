"""`verify`, `inspect` and `doctor`: the proof of a bundle on this machine, as functions and as commands."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from pocketcrafter.runtime.backends.onnxruntime import saturates
from pocketcrafter.runtime.bundle.goldens import read_tensors, write_tensors
from pocketcrafter.runtime.bundle.integrity import digest_text, sha256_of
from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.verify import Outcome, verify
from pocketcrafter.runtime.cli.bundle import doctor_command, inspect_command, verify_command
from pocketcrafter.runtime.errors import BundleError


def rewrite(bundle: Path, **manifest_changes: object) -> None:
    """Make the manifest agree again with files that a test changed."""
    raw = json.loads((bundle / MANIFEST).read_bytes()) | manifest_changes
    for entry in raw["files"]:
        entry.update(sha256=sha256_of(bundle / entry["path"]), size=(bundle / entry["path"]).stat().st_size)
    data = json.dumps(raw).encode()
    (bundle / MANIFEST).write_bytes(data)
    (bundle / DIGEST).write_bytes(digest_text(data))


def scale_weights(bundle: Path, factor: float) -> None:
    path = bundle / "targets/onnx/restore.onnx"
    model = onnx.load(path)
    kernel = next(t for t in model.graph.initializer if t.name == "kernel")
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel) * np.float32(factor), "kernel"))
    path.write_bytes(model.SerializeToString())


def test_a_whole_bundle_passes_and_reports_its_ratio(bundle_dir: Path) -> None:
    report = verify(bundle_dir, threads=1)
    assert report.ok
    (run,) = report.goldens
    assert (run.target, run.outcome) == ("onnx", Outcome.PASSED)
    assert run.fidelity[0].sqnr_db is None or run.fidelity[0].sqnr_db > 60


def test_a_network_that_computes_something_else_fails_its_golden_though_every_hash_fits(bundle_dir: Path) -> None:
    scale_weights(bundle_dir, 1.1)
    rewrite(bundle_dir)
    report = verify(bundle_dir, threads=1)
    assert not report.problems
    assert report.goldens[0].outcome is Outcome.FAILED
    assert "restored" in report.goldens[0].reason
    assert not report.ok


def test_a_network_within_the_gate_passes(bundle_dir: Path) -> None:
    scale_weights(bundle_dir, 1.001)
    rewrite(bundle_dir)
    assert verify(bundle_dir, threads=1).ok


def test_an_artifact_of_another_contract_fails_and_says_so(bundle_dir: Path) -> None:
    path = bundle_dir / "targets/onnx/restore.onnx"
    model = onnx.load(path)
    model.graph.input[1].name = "strengths"
    model.graph.node[1].input[0] = "strengths"
    path.write_bytes(model.SerializeToString())
    rewrite(bundle_dir)
    run = verify(bundle_dir, threads=1).goldens[0]
    assert run.outcome is Outcome.FAILED
    assert "strengths" in run.reason


def test_progress_counts_every_byte(bundle_dir: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}
    verify(bundle_dir, threads=1, progress=lambda what, done, total: seen.update({what: (done, total)}))
    assert seen["hashes"][0] == seen["hashes"][1] == sum(f.size for f in Bundle.open(bundle_dir).manifest.files)


def test_the_command_prints_json_and_exits_with_zero(bundle_dir: Path) -> None:
    result = CliRunner().invoke(verify_command, [str(bundle_dir), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["ok"] is True


@pytest.mark.parametrize("damage", ["flip", "missing", "extra"])
def test_the_command_exits_with_one_on_damage_and_names_it(bundle_dir: Path, damage: str) -> None:
    victim = bundle_dir / "targets/onnx/restore.onnx"
    if damage == "flip":
        content = bytearray(victim.read_bytes())
        content[100] ^= 1
        victim.write_bytes(content)
    elif damage == "missing":
        victim.unlink()
    else:
        victim = bundle_dir / "targets/onnx/second.onnx"
        victim.write_bytes(b"x")
    for options in ([], ["--json"]):
        result = CliRunner().invoke(verify_command, [str(bundle_dir), *options])
        assert result.exit_code == 1
        assert victim.name in result.stdout
        assert "Traceback" not in result.output


def test_inspect_shows_targets_precisions_and_gates(bundle_dir: Path) -> None:
    text = CliRunner().invoke(inspect_command, [str(bundle_dir)]).stdout
    assert all(word in text for word in ("onnx", "fp32", "restore", "100.0%", "4 not run", "exposure_ev"))
    raw = json.loads(CliRunner().invoke(inspect_command, [str(bundle_dir), "--json"]).stdout)
    assert raw == json.loads((bundle_dir / MANIFEST).read_bytes())


def test_doctor_finds_the_backend_that_the_runtime_depends_on() -> None:
    result = CliRunner().invoke(doctor_command, ["--json"])
    diagnosis = json.loads(result.stdout)
    assert result.exit_code == 0
    assert diagnosis["cores"] >= 1
    assert diagnosis["saturating_products"] is saturates()
    products = "saturate" if saturates() else "are exact"
    assert f"{diagnosis['instruction_set']}: " in (text := CliRunner().invoke(doctor_command).stdout)
    assert products in text
    assert next(b for b in diagnosis["backends"] if b["name"] == "onnxruntime")["reason"] is None
    assert {"numpy", "onnxruntime", "pydantic"} <= diagnosis["extras"][0]["packages"].keys()
    targets = {t["name"]: t for t in diagnosis["targets"]}
    assert targets["onnx"]["reason"] is None
    assert targets["executorch-vulkan"]["proof"] == "nothing but a device"
    assert "NEUROPILOT_SDK_ROOT" in targets["executorch-mediatek"]["reason"]


def golden_specs(bundle: Path) -> tuple[Path, tuple[object, ...]]:
    manifest = Bundle.open(bundle).manifest
    return bundle / manifest.components[0].goldens[0].inputs, manifest.components[0].spec.inputs


def test_goldens_keep_pictures_to_half_a_step_and_are_reproducible(bundle_dir: Path, tmp_path: Path) -> None:
    path, specs = golden_specs(bundle_dir)
    tensors = read_tensors(path, specs)
    again = tmp_path / "again.npz"
    write_tensors(again, tensors, specs)
    assert again.read_bytes() == path.read_bytes()
    np.testing.assert_array_equal(read_tensors(again, specs)["tile"], tensors["tile"])


@pytest.mark.parametrize(
    "arrays",
    [
        {"tile": np.zeros((1, 3, 16, 16), np.float32)},
        {"tile": np.zeros((1, 3, 16, 16)), "amounts": np.zeros((1, 3), np.float32)},
        {"tile": np.zeros((1, 3, 8, 16), np.float32), "amounts": np.zeros((1, 3), np.float32)},
        {"tile": np.zeros((1, 3, 512, 512), np.float32), "amounts": np.zeros((1, 3), np.float32)},
        {"tile": np.zeros((1, 3, 16, 16), np.float32), "amounts": np.full((1, 3), np.nan, np.float32)},
        {"tile": np.zeros((1, 3, 16, 16), np.float32), "amounts": np.array([[None, {}, "x"]], dtype=object)},
        {"tile": np.zeros((1, 3, 16, 16), np.float32), "amounts": np.zeros((1, 3), np.float32), "x": np.zeros(1)},
    ],
)
def test_goldens_of_wrong_names_types_or_sizes_are_refused(
    bundle_dir: Path, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    _, specs = golden_specs(bundle_dir)
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(BundleError):
        read_tensors(path, specs)


def test_a_pickle_named_npz_is_refused(bundle_dir: Path, tmp_path: Path) -> None:
    _, specs = golden_specs(bundle_dir)
    path = tmp_path / "bad.npz"
    np.save(path.open("wb"), np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError):
        read_tensors(path, specs)
