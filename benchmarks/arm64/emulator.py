"""Runs one artifact on one set of inputs on an emulated ARM64 processor."""

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.benchmarks.arm64 import onnx_guest
from pocketcrafter.benchmarks.arm64.system import EMULATOR, PYTHON, RUNNER, WHEELS, ArmSystem
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.targets import ONNX, XNNPACK, TargetKind

PROCESSOR: Final = "neoverse-n1"
"""ARMv8.2 with dot products, as in phones since 2018. QEMU's default, `max`, computes INT8 wrongly (QEMU 7.2)."""

LABEL: Final = f"emulated ARM64 (QEMU user mode, {PROCESSOR})"

_SECONDS: Final = 3600
_TAIL_CHARS: Final = 600


def run_emulated(
    system: ArmSystem, kind: TargetKind, artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Run an artifact once, on one emulated core.

    Parameters
    ----------
    system
        Where its runtime is.
    kind
        One of `ENGINES`.
    artifact, spec, inputs
        The network, its contract, and one array for each of the contract's inputs.

    Raises
    ------
    BackendError
        If the emulated program fails, or what it leaves is not what the contract says.
    """
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-arm64-") as folder:
        return ENGINES[kind](system, artifact.resolve(), spec, checked_inputs(inputs, spec), Path(folder))


def _onnx(
    system: ArmSystem, artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], folder: Path
) -> dict[str, FloatArray]:
    given, made = folder / "inputs.npz", folder / "outputs.npz"
    np.savez(given, allow_pickle=False, **inputs)
    script = folder / "guest.py"
    shutil.copyfile(onnx_guest.__file__, script)
    _call(system, artifact, [system.root / PYTHON, "-I", script, system.root / WHEELS, artifact, given, made])
    try:
        with np.load(made, allow_pickle=False) as data:
            return named_outputs([data[output.name] for output in spec.outputs], spec)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BackendError(f"{artifact}: on {LABEL} it left no outputs that fit its contract: {error}") from error


def _program(
    system: ArmSystem, artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], folder: Path
) -> dict[str, FloatArray]:
    arguments: list[Path | str] = [system.root / RUNNER, "--model", artifact, "--out", folder, "--threads", "1"]
    for number, array in enumerate(inputs.values()):
        file = folder / f"input_{number}.bin"
        file.write_bytes(array.astype("<f4").tobytes())
        arguments += ["--input", file]
    _call(system, artifact, arguments)
    try:
        found = [np.fromfile(folder / f"output_{n}.bin", "<f4").reshape(t.shape) for n, t in enumerate(spec.outputs)]
    except (OSError, ValueError) as error:
        raise BackendError(f"{artifact}: on {LABEL} it left no outputs that fit its contract: {error}") from error
    return named_outputs(found, spec)


Engine = Callable[[ArmSystem, Path, ComponentSpec, Mapping[str, FloatArray], Path], dict[str, FloatArray]]

ENGINES: Final[Mapping[TargetKind, Engine]] = {ONNX: _onnx, XNNPACK: _program}
"""Targets whose artifacts run on a CPU."""


def _call(system: ArmSystem, artifact: Path, command: Sequence[Path | str]) -> None:
    # Libraries and files are looked for in the system first, and on this machine where they are not there.
    libraries = f"LD_LIBRARY_PATH={system.root / WHEELS / 'executorch/lib'}"
    emulated = [EMULATOR, "-L", system.root, "-cpu", PROCESSOR, "-E", libraries, *command]
    try:
        done = subprocess.run(  # noqa: S603 - the emulator, our own arguments
            list(map(str, emulated)),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env={"PATH": os.environ.get("PATH", os.defpath), "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{artifact}: on {LABEL} it was not done after {_SECONDS} s.") from error
    if done.returncode:
        said = done.stderr[-_TAIL_CHARS:].strip() or "nothing"
        raise BackendError(f"{artifact}: on {LABEL} it ended with code {done.returncode} and said: {said}")
