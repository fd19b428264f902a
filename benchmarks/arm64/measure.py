"""Every golden of a bundle on an emulated ARM64 processor, compared with this machine's outputs and full precision.

The processor is emulated by QEMU, in which a small Debian system runs one artifact.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field

from pocketcrafter.benchmarks.arm64 import onnx_guest
from pocketcrafter.benchmarks.common.machine import Machine, this_machine
from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.device import stage
from pocketcrafter.export.lower.measure import compare
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import checked_inputs, named_outputs
from pocketcrafter.runtime.bundle.gates import Gate, judge
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity, Precision, figures_of
from pocketcrafter.runtime.components import ComponentName, ComponentSpec
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError, ConfigError
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


class ArmNetwork(Config):
    """One artifact's goldens."""

    component: ComponentName
    target: str
    precision: Precision
    against_host: tuple[Fidelity, ...] = Field(description="Against the same artifact on this machine's processor.")
    host_gate: Gate
    against_golden: tuple[Fidelity, ...] = Field(description="Against the full-precision goldens.")
    golden_gate: Gate
    seconds: float = Field(ge=0, description="What the emulation took; says nothing of any processor.")

    @property
    def passed(self) -> bool:
        """Whether both gates are kept."""
        verdicts = (
            judge(figures_of(self.against_host), self.host_gate),
            judge(figures_of(self.against_golden), self.golden_gate),
        )
        return all(verdict.passed for verdict in verdicts)


class ArmReport(Config):
    """Everything that one `pocketcrafter bench arm64` found."""

    schema_version: Literal[1] = 1
    bundle: str
    processor: str = Field(description="What was emulated, and by what.")
    machine: Machine = Field(description="Where the emulator ran; the other side of the comparison.")
    tools: dict[str, str] = Field(description="Versions of the ARM64 runtimes.")
    networks: tuple[ArmNetwork, ...]

    @property
    def failures(self) -> list[str]:
        """Networks that missed a gate."""
        return [f"{n.component} on {n.target}" for n in self.networks if not n.passed]


def arm_lines(report: ArmReport) -> Iterator[str]:
    """Yield the lines of a report."""
    yield f"{report.bundle} on {report.processor}, against {report.machine.processor}; no device is involved"
    yield ""
    head = ("network", "on", "precision", "result", "against this machine", "largest difference", "against the goldens")
    yield markdown(head, [_row(network) for network in report.networks])


def _row(network: ArmNetwork) -> tuple[str, ...]:
    return (
        network.component,
        network.target,
        network.precision.value,
        "passed" if network.passed else "FAILED",
        _lowest(network.against_host, network.host_gate),
        f"{max(f.max_abs_error for f in network.against_host):.1e}",
        _lowest(network.against_golden, network.golden_gate),
    )


def _lowest(fidelity: Sequence[Fidelity], gate: Gate) -> str:
    ratios = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    return f"{min(ratios):.1f} dB ({gate})" if ratios else "identical"


def run_arm64(
    bundle: Bundle,
    folder: Path,
    targets: Sequence[str] = (),
    components: Sequence[str] = (),
    progress: NamedProgress = lambda *_: None,
) -> ArmReport:
    """Run a bundle's goldens on an emulated ARM64 processor.

    Parameters
    ----------
    bundle
        Nothing is written into it.
    folder
        Where the emulated system is, or is to be made.
    targets, components
        By name; all that a CPU runs when empty.
    progress
        Called with what is done, networks done and networks in all.

    Raises
    ------
    ConfigError
        If the bundle lacks what was asked for, or no target of it runs on a CPU.
    BackendError
        If the emulator or something of it is missing, or a network fails.
    BundleError
        If a golden is damaged.
    """
    jobs = _jobs(bundle, targets, components)
    system = open_system(folder, progress)
    networks = []
    for done, (entry, target) in enumerate(jobs):
        progress(f"{entry.spec.name} on {target}", done, len(jobs))
        networks.append(_network(bundle, entry, target, system))
    progress("networks", len(jobs), len(jobs))
    return ArmReport(
        bundle=bundle.manifest.name,
        processor=LABEL,
        machine=this_machine(),
        tools=dict(system.tools),
        networks=tuple(networks),
    )


def _jobs(bundle: Bundle, targets: Sequence[str], components: Sequence[str]) -> list[tuple[ComponentEntry, str]]:
    has = [name for name, target in bundle.manifest.targets.items() if target.kind in ENGINES]
    if strange := [name for name in targets if name not in has]:
        raise ConfigError(f"{bundle.path}: `{strange[0]}` is no target of it for a CPU; it has {', '.join(has)}.")
    if not has:
        raise ConfigError(f"{bundle.path}: none of its targets is for a CPU ({', '.join(ENGINES)}).")
    entries = bundle.chosen_components(components)
    return [(entry, target) for target in targets or has for entry in entries]


def _network(bundle: Bundle, entry: ComponentEntry, target: str, system: ArmSystem) -> ArmNetwork:
    artifact, kind = entry.artifacts[target], bundle.manifest.targets[target].kind
    session = bundle.target_session(entry.spec.name, 1, target)
    samples = [read_tensors(bundle.file(golden.inputs), entry.spec.inputs) for golden in entry.goldens_of(None)]
    expected = [read_tensors(bundle.file(golden.outputs), entry.spec.outputs) for golden in entry.goldens_of(None)]
    host = [session.run(sample) for sample in samples]
    start = time.perf_counter()
    emulated = [run_emulated(system, kind, bundle.artifact(entry, target), entry.spec, sample) for sample in samples]
    return ArmNetwork(
        component=entry.spec.name,
        target=target,
        precision=artifact.precision,
        against_host=compare(samples, host, emulated, entry.spec),
        host_gate=artifact.kernels_gate,
        against_golden=compare(samples, expected, emulated, entry.spec),
        golden_gate=artifact.golden_gate,
        seconds=time.perf_counter() - start,
    )
