"""An emulated ARM64 processor: the small Debian system that QEMU runs programs in, and one artifact run in it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.benchmarks.arm64 import onnx_guest
from pocketcrafter.benchmarks.device import stage
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.progress import NamedProgress
from pocketcrafter.runtime.targets import ONNX, XNNPACK, TargetKind

EMULATOR: Final = "qemu-aarch64-static"
PACKAGES: Final[Mapping[str, str]] = {
    EMULATOR: "qemu-user-static",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "cmake": "cmake",
}
"""The programs that are needed, and Debian's packages that have them."""

WHEELS: Final = Path("opt/wheels")
RUNNER: Final = Path("opt/runner/pocketcrafter_runner")
PYTHON: Final = Path("usr/bin/python3.11")
_READY: Final = "opt/ready.json"
_SOURCES: Final = Path(stage.__file__).parent / "runner"
_RELEASE: Final = "bookworm"
"""Debian 12, whose Python is the one that the wheels below are for."""
_MIRROR: Final = "http://deb.debian.org/debian"
_PLATFORMS: Final = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
_RUNTIMES: Final = ("numpy", "onnxruntime", "executorch")
_BUILD_SECONDS: Final = 1800
_TAIL_CHARS: Final = 600

# Without it onnxruntime reads this machine's, finds no ARM processor there, and crashes.
_CPUINFO: Final = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""

PROCESSOR: Final = "neoverse-n1"
"""ARMv8.2 with dot products, as in phones since 2018. QEMU's default, `max`, computes INT8 wrongly (QEMU 7.2)."""

LABEL: Final = f"emulated ARM64 (QEMU user mode, {PROCESSOR})"

_SECONDS: Final = 3600


@dataclass(frozen=True)
class ArmSystem:
    """A finished system."""

    root: Path
    tools: Mapping[str, str]
    """Versions of the runtimes in it."""


def open_system(folder: Path, progress: NamedProgress = lambda *_: None) -> ArmSystem:
    """Return the system in a folder; make it first if it is not there, or has other versions than this environment.

    Parameters
    ----------
    folder
        Where it lies, about 450 MB; replaced as a whole once the new one is finished.
    progress
        Called with what is being done, steps done and steps in all.

    Raises
    ------
    BackendError
        If a program is missing (the message names Debian's package), or a step of making it fails.
    """
    folder, wanted = folder.resolve(), _wanted()
    _require([EMULATOR])
    if _made_from(folder) == wanted:
        return ArmSystem(folder, {name: wanted[name] for name in _RUNTIMES})
    _require(PACKAGES)
    if os.geteuid() != 0:
        raise BackendError(f"{folder}: debootstrap, which makes the ARM64 system once, must run as root.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        root = Path(name) / "root"
        steps: tuple[tuple[str, Callable[[Path], None]], ...] = (
            ("Debian for ARM64", _bootstrap),
            ("wheels", _add_wheels),
            ("runner", _add_runner),
        )
        for done, (what, step) in enumerate(steps):
            progress(what, done, len(steps))
            step(root)
        progress("ARM64 system", len(steps), len(steps))
        (root / _READY).write_text(json.dumps(wanted), encoding="utf-8")
        if folder.exists():
            folder.rename(Path(name) / "replaced")
        root.rename(folder)
    return ArmSystem(folder, {name: wanted[name] for name in _RUNTIMES})


def _wanted() -> dict[str, str]:
    sources = b"".join((_SOURCES / name).read_bytes() for name in ("CMakeLists.txt", "runner.cpp"))
    return {name: version(name) for name in _RUNTIMES} | {"runner": hashlib.sha256(sources).hexdigest()}


def _made_from(folder: Path) -> object:
    try:
        return json.loads((folder / _READY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _require(programs: Sequence[str] | Mapping[str, str]) -> None:
    if absent := [PACKAGES[name] for name in programs if shutil.which(name) is None]:
        raise BackendError(f"ARM64 cannot be emulated here: apt-get install {' '.join(absent)}")


def _bootstrap(root: Path) -> None:
    # The packages are unpacked and left unconfigured: that would mean running each one's scripts in the emulator.
    _call_tool(
        ["debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", "--include=python3", _RELEASE, str(root),
         _MIRROR]
    )  # fmt: skip
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        _call_tool(["dpkg-deb", "-x", str(package), str(root)])
        package.unlink()
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text(_CPUINFO, encoding="ascii")


def _add_wheels(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root.parent) as name:
        platforms = [f"--platform={platform}" for platform in _PLATFORMS]
        wheels = [f"{runtime}=={version(runtime)}" for runtime in _RUNTIMES]
        _call_tool(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms,
             "--python-version=311", "--implementation=cp", "--dest", name, *wheels]
        )  # fmt: skip
        for wheel in Path(name).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(root / WHEELS)


def _add_runner(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root.parent) as name:
        settings = {
            "CMAKE_SYSTEM_NAME": "Linux",
            "CMAKE_SYSTEM_PROCESSOR": "aarch64",
            "CMAKE_CXX_COMPILER": "aarch64-linux-gnu-g++",
            "EXECUTORCH_WHEEL": root / WHEELS / "executorch",
        }
        _call_tool(["cmake", "-S", str(_SOURCES), "-B", name, *(f"-D{key}={value}" for key, value in settings.items())])
        _call_tool(["cmake", "--build", name])
        (root / RUNNER).parent.mkdir(parents=True)
        shutil.copy2(Path(name) / RUNNER.name, root / RUNNER)


def _call_tool(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - programs by name, our own arguments
            command, capture_output=True, text=True, errors="replace", timeout=_BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"`{command[0]}` was not done after {_BUILD_SECONDS} s.") from error
    if done.returncode:
        output = (done.stderr or done.stdout)[-_TAIL_CHARS:].strip()
        raise BackendError(f"The ARM64 system cannot be made: `{' '.join(command[:3])} …` failed: {output}")


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
    _call_emulated(system, artifact, [system.root / PYTHON, "-I", script, system.root / WHEELS, artifact, given, made])
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
    _call_emulated(system, artifact, arguments)
    try:
        found = [np.fromfile(folder / f"output_{n}.bin", "<f4").reshape(t.shape) for n, t in enumerate(spec.outputs)]
    except (OSError, ValueError) as error:
        raise BackendError(f"{artifact}: on {LABEL} it left no outputs that fit its contract: {error}") from error
    return named_outputs(found, spec)


Engine = Callable[[ArmSystem, Path, ComponentSpec, Mapping[str, FloatArray], Path], dict[str, FloatArray]]

ENGINES: Final[Mapping[TargetKind, Engine]] = {ONNX: _onnx, XNNPACK: _program}
"""Targets whose artifacts run on a CPU."""


def _call_emulated(system: ArmSystem, artifact: Path, command: Sequence[Path | str]) -> None:
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
        output = done.stderr[-_TAIL_CHARS:].strip() or "nothing"
        raise BackendError(f"{artifact}: on {LABEL} it ended with code {done.returncode} and said: {output}")
