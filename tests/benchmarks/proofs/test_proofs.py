"""The table of proofs says what ran, and nothing that did not."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from pocketcrafter.benchmarks.cli import bench
from pocketcrafter.benchmarks.proofs import Proof, proof_lines, proofs
from pocketcrafter.runtime.bundle.manifest import Manifest, TargetEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision, Rung, sqnr_gate
from pocketcrafter.runtime.targets import TARGETS, TargetKind


def _on(manifest: Manifest, kind: str, precision: Precision, rungs: tuple[Rung, ...]) -> Manifest:
    """A manifest whose one target is another one, with these rungs."""
    row = TARGETS[TargetKind(kind)]
    entry = manifest.components[0]
    artifact = next(iter(entry.artifacts.values()))
    changed = artifact.model_copy(update={"precision": precision, "rungs": rungs, "path": f"a/b{row.suffix}"})
    targets = {kind: TargetEntry(kind=row.kind, backend=row.backend, soc=row.soc_names, minimum_os=row.min_os)}
    components = (entry.model_copy(update={"artifacts": {kind: changed}}),)
    return manifest.model_copy(update={"targets": targets, "components": components})


def _host(passed: bool | None) -> Rung:
    return Rung(rung=2, passed=passed, how="here", gates=(sqnr_gate(40),))


def test_each_target_is_proved_by_what_ran_it(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    expected = {
        ("onnx", Precision.INT8): (Proof.VENDOR_RUNTIME, False),
        ("coreai:ios27", Precision.FP16): (Proof.VENDOR_RUNTIME, False),
        ("coreml:ios18", Precision.FP16): (Proof.INTERPRETER, False),
        ("qnn-context:sm8750", Precision.INT8): (Proof.VENDOR_EMULATOR, False),
        ("qnn-context:sm8750", Precision.FP32): (Proof.VENDOR_RUNTIME, True),
        ("executorch-vulkan", Precision.FP32): (Proof.VENDOR_RUNTIME, True),
    }
    for (kind, precision), (proof, on_cpu) in expected.items():
        (made,) = proofs([_on(manifest, kind, precision, (_host(passed=True),))]).artifacts
        assert (made.proof, made.on_cpu, made.passed) == (proof, on_cpu, True), kind


def test_what_did_not_run_is_no_proof_and_a_device_is_the_strongest(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    (vulkan,) = proofs([_on(manifest, "executorch-vulkan", Precision.FP16, (_host(passed=None),))]).artifacts
    assert (vulkan.proof, vulkan.passed) == (Proof.NONE, None)
    table = proofs([_on(manifest, "qnn-context:multi", Precision.INT8, (_host(passed=True),))])
    (multi,) = table.artifacts
    assert (multi.proof, multi.by_twins) == (Proof.VENDOR_EMULATOR, True)
    name = manifest.components[0].spec.name
    assert proof_lines(table).endswith(f"emulator (its twins) |\n\n{name} on `qnn-context:multi`: here.")
    missed = Rung(rung=4, passed=False, how="a phone", gates=(sqnr_gate(40),))
    table = proofs([_on(manifest, "coreml:ios18", Precision.FP16, (_host(passed=True), missed))])
    assert (table.artifacts[0].proof, table.artifacts[0].passed) == (Proof.DEVICE, False)
    assert "| `coreml:ios18` | fp16: device, gate missed |" in proof_lines(table)


def test_the_command_shows_every_artifact(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    root = make_bundle(tmp_path / "b.pcbundle")
    manifest = Bundle.open(root).manifest
    said = json.loads(CliRunner().invoke(bench, ["proofs", str(root), "--json"]).stdout)
    assert len(said["artifacts"]) == sum(len(entry.artifacts) for entry in manifest.components)
    shown = CliRunner().invoke(bench, ["proofs", str(root)]).stdout
    assert all(f"`{target}`" in shown for target in manifest.targets)


def test_several_bundles_are_one_table_with_the_strongest_proof(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    first = _on(manifest, "executorch-vulkan", Precision.FP16, (_host(passed=None),))
    phone = Rung(rung=4, passed=True, how="a phone", gates=(sqnr_gate(40),))
    second = _on(manifest, "executorch-vulkan", Precision.FP16, (phone,))
    renamed = first.components[0].spec.model_copy(update={"name": "other"})
    other = first.model_copy(update={"components": (first.components[0].model_copy(update={"spec": renamed}),)})
    table = proofs([first, second, other])
    assert [made.proof for made in table.artifacts] == [Proof.DEVICE, Proof.NONE]
    onnx = _on(manifest, "onnx", Precision.INT8, (_host(passed=True),))
    assert "| `onnx` | int8: vendor's runtime | – |" in proof_lines(proofs([onnx, other]))
