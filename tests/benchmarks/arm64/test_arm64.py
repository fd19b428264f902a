"""ARM64 in an emulator: what is missing is named, what fails is told, and what departs from this machine is found."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from pocketcrafter.benchmarks.arm64 import onnx_guest
from pocketcrafter.benchmarks.arm64.command import arm64
from pocketcrafter.benchmarks.arm64.measure import (
    EMULATOR,
    LABEL,
    PACKAGES,
    RUNNER,
    ArmNetwork,
    ArmReport,
    ArmSystem,
    arm_lines,
    open_system,
    run_emulated,
)
from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity, Precision, sqnr_gate
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.targets import XNNPACK

TONE = POCKET_SPECS[Pocket.TONE]
needs_qemu = pytest.mark.skipif(shutil.which(EMULATOR) is None, reason="no QEMU for ARM64 here")


def test_missing_programs_are_named_by_their_packages(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(arm64, [str(bundle), "--system", str(tmp_path / "arm64")])
    assert isinstance(result.exception, BackendError)
    assert "apt-get install qemu-user-static" in str(result.exception)
    (tmp_path / EMULATOR).symlink_to("/bin/true")
    with pytest.raises(BackendError) as told:
        open_system(tmp_path / "arm64")
    assert str(told.value).endswith("apt-get install " + " ".join(p for n, p in PACKAGES.items() if n != EMULATOR))
    assert not (tmp_path / "arm64").exists()


def test_targets_that_no_cpu_runs_are_refused_before_anything_is_made(bundle: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(arm64, [str(bundle), "--target", "coreml:ios18", "--system", str(tmp_path / "arm64")])
    assert "`coreml:ios18` is no target of it for a CPU; it has onnx" in str(result.exception)
    assert not (tmp_path / "arm64").exists()


def test_the_guests_script_computes_what_the_runtime_does(bundle: Path, tmp_path: Path) -> None:
    opened = Bundle.open(bundle)
    entry = opened.manifest.entry(Pocket.TONE)
    inputs = read_tensors(opened.root / entry.goldens[0].inputs, TONE.inputs)
    given, made = tmp_path / "inputs.npz", tmp_path / "outputs.npz"
    np.savez(given, allow_pickle=False, **inputs)
    wheels, model = Path(onnxruntime.__file__).parents[1], opened.root / entry.artifacts["onnx"].path
    command = [sys.executable, onnx_guest.__file__, wheels, model, given, made]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)  # noqa: S603 - our own script
    with np.load(made) as outputs:
        expected = opened.target_session(Pocket.TONE, 1, "onnx").run(inputs)
        assert outputs.files == list(expected)
        assert all(np.array_equal(outputs[name], expected[name]) for name in expected)


@needs_qemu
def test_a_program_for_another_processor_is_an_error_that_names_the_artifact(tmp_path: Path) -> None:
    system, artifact = _system(tmp_path), tmp_path / "tone.pte"
    shutil.copy(sys.executable, system.root / RUNNER)
    with pytest.raises(BackendError, match=r"tone\.pte: on emulated ARM64 .* ended with code"):
        run_emulated(system, XNNPACK, artifact, TONE, _zeros())


@needs_qemu
@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-g++") is None, reason="no compiler for ARM64 here")
@pytest.mark.parametrize("body", ["return 0;", 'std::fprintf(stderr, "no memory\\n"); return 3;'])
def test_a_runner_that_leaves_nothing_is_an_error(tmp_path: Path, body: str) -> None:
    system, source = _system(tmp_path), tmp_path / "runner.cpp"
    source.write_text(f"#include <cstdio>\nint main() {{ {body} }}\n")
    compiler = ["aarch64-linux-gnu-g++", "-static", str(source), "-o", str(system.root / RUNNER)]
    subprocess.run(compiler, check=True)  # noqa: S603 - our own source
    with pytest.raises(BackendError, match=r"left no outputs|ended with code 3 and said: no memory"):
        run_emulated(system, XNNPACK, tmp_path / "tone.pte", TONE, _zeros())


@pytest.mark.parametrize(("host_db", "golden_db"), [(39.0, 60.0), (80.0, 29.0)])
def test_either_gate_fails_a_network(host_db: float, golden_db: float) -> None:
    good, bad = (_report(*figures) for figures in ((80.0, 60.0), (host_db, golden_db)))
    assert (good.failures, bad.failures) == ([], ["tone on onnx"])
    assert "| FAILED |" in "\n".join(arm_lines(bad))
    assert all("emulated ARM64" in next(iter(arm_lines(report))) for report in (good, bad))


def test_equal_outputs_are_called_identical() -> None:
    report = _report(None, 60.0)
    assert "| identical | 0.0e+00 |" in "\n".join(arm_lines(report))
    assert json.loads(report.model_dump_json())["networks"][0]["against_host"][0]["sqnr_db"] is None


def test_the_makefile_calls_it() -> None:
    root = Path(__file__).parents[3]
    said = subprocess.run(  # noqa: S603 - ours
        [shutil.which("make") or "make", "-n", "-o", "setup", "parity-arm64", "BUNDLE=some.pcbundle"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "pocketcrafter bench arm64 some.pcbundle" in said.stdout


def _system(folder: Path) -> ArmSystem:
    (folder / "root" / RUNNER).parent.mkdir(parents=True)
    return ArmSystem(folder / "root", {})


def _zeros() -> dict[str, np.ndarray]:
    return {t.name: np.zeros(t.shape, np.float32) for t in TONE.inputs}


def _report(host_db: float | None, golden_db: float) -> ArmReport:
    def fidelity(ratio: float | None) -> tuple[Fidelity, ...]:
        error = 0.0 if ratio is None else 0.01
        return (Fidelity(output="grid", sqnr_db=ratio, cosine=1.0, max_abs_error=error, psnr_db=None),)

    network = ArmNetwork(
        component=Pocket.TONE, target="onnx", precision=Precision.INT8, against_host=fidelity(host_db),
        host_gate=sqnr_gate(40), against_golden=fidelity(golden_db), golden_gate=sqnr_gate(30), seconds=1,
    )  # fmt: skip
    return ArmReport(bundle="small", processor=LABEL, machine=this_machine(), tools={}, networks=(network,))
