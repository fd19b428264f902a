"""The folder on the device: what is pushed, run and pulled; it is removed afterwards in any case."""

import shlex
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from pocketcrafter.benchmarks.device.adb import AdbDevice, DeviceError, RunnerError, RunnerKilledError, WrongAbiError
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.targets import XNNPACK

RUNNER: Final = "runner"
RUNNER_TARGETS: Final = frozenset({XNNPACK})
"""Targets whose artifacts the runner can run as it is built here."""

_SPARE_BYTES: Final = 4 << 20
_ELF: Final = b"\x7fELF"
_MACHINES: Final[Mapping[str, int]] = {
    "x86_64": 62, "aarch64": 183, "arm64": 183, "armv7l": 40, "armv8l": 40, "i686": 3, "riscv64": 243,
}  # fmt: skip
"""ELF's numbers of the architectures, by what kernels call them."""

_MOST_BYTES: Final = 1 << 20
_RESULT: Final = "result.json"


def check_runner(runner: Path, device: AdbDevice) -> None:
    """Refuse a runner that the device cannot start.

    Raises
    ------
    ConfigError
        If the file is no program.
    WrongAbiError
        If it was compiled for another processor.
    """
    try:
        with runner.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        raise ConfigError(
            f"{runner}: cannot be read ({error.strerror}); benchmarks/device/runner builds it."
        ) from error
    if len(head) < 20 or not head.startswith(_ELF):
        raise ConfigError(f"{runner}: no ELF program; benchmarks/device/runner builds the runner.")
    (number,) = struct.unpack_from("<H", head, 18)
    machine = device.machine()
    if _MACHINES.get(machine) != number:
        built = next((name for name, n in _MACHINES.items() if n == number), f"ELF machine {number}")
        raise WrongAbiError(
            f"{runner} was compiled for {built}, and {device.serial} is {machine}. Build it again for the device: "
            "benchmarks/device/runner/CMakeLists.txt says how."
        )


def part_of(bundle: Bundle, target: str) -> dict[str, Path]:
    """Return the files that a device needs of a target: its artifacts by their names on the device.

    Raises
    ------
    ConfigError
        If the bundle has no such target, or the runner cannot run it.
    """
    targets = bundle.manifest.targets
    if target not in targets:
        raise ConfigError(f"{bundle.path}: no target `{target}`; it has {', '.join(targets)}.")
    if targets[target].kind not in RUNNER_TARGETS:
        raise ConfigError(f"The runner runs {', '.join(sorted(RUNNER_TARGETS))}; `{target}` is run by the demo apps.")
    return {f"{entry.spec.name}.pte": bundle.artifact(entry, target) for entry in bundle.manifest.components}


@contextmanager
def staged(device: AdbDevice, folder: str, files: Mapping[str, Path], *, keep: bool = False) -> Iterator[str]:
    """Push files into a folder and remove it afterwards, or leave it where files were pushed there before.

    Artifacts that are there in their size are not pushed again: the folder is named after the bundle's hash.

    Parameters
    ----------
    device
        Where to.
    folder
        The folder on the device, which is made.
    files
        By name; `RUNNER` becomes executable.
    keep
        Leave the folder where it all went well.

    Raises
    ------
    DeviceFullError
        If there is no room; nothing was pushed.
    DeviceError
        As `AdbDevice.push` does; nothing is left behind that was not there before, as far as the device is reached.
    """
    there, above = device.files(folder), shlex.quote(folder.rpartition("/")[0])
    made_above = device.run(f"test -d {above}")[0] != 0
    missing = {n: path for n, path in files.items() if n == RUNNER or there.get(n) != path.stat().st_size}
    done = False
    try:
        device.make_folder(folder)
        device.require_room(folder, sum(p.stat().st_size for p in missing.values()) + _SPARE_BYTES * bool(missing))
        for name, path in missing.items():
            device.push(path, f"{folder}/{name}", executable=name == RUNNER)
        yield folder
        done = True
    finally:
        if not (there or (keep and done)):
            with suppress(DeviceError):  # it may be why we leave
                device.remove(folder)
                if made_above:
                    device.run(f"rmdir {above}")


def run_runner(device: AdbDevice, folder: str, arguments: list[str], seconds: float) -> None:
    """Run the runner in a folder.

    Parameters
    ----------
    device
        Where the runner lies.
    folder
        The folder to run it in.
    arguments
        Its command line; quoted for the shell here.
    seconds
        The longest that it may take.

    Raises
    ------
    RunnerKilledError
        If it was killed.
    RunnerError
        If it failed, with what it said.
    DisconnectedError
        If the device went away, or it took longer than ``seconds``.
    """
    words = " ".join(map(shlex.quote, arguments))
    code, output = device.run(f"cd {shlex.quote(folder)} && ./{RUNNER} {words}", seconds)
    if code > 128:
        raise RunnerKilledError(
            f"{device.serial}: the runner was killed by signal {code - 128}"
            f"{', most likely for want of memory' if code == 137 else ''}. Close other apps, and try again."
        )
    if code:
        last = next((line for line in reversed(output.splitlines()) if "pocketcrafter_runner" in line), output[-300:])
        raise RunnerError(f"{device.serial}: the runner failed with exit code {code}: {last}")


def pull_results(device: AdbDevice, folder: str, out: Path) -> list[Path]:
    """Fetch every run's result below a folder.

    Parameters
    ----------
    device, folder
        Where they lie.
    out
        Receives ``<bundle>/run-<component>/result.json``; is made.

    Raises
    ------
    DeviceError
        If the device goes away, or has a file that no runner wrote.
    ConfigError
        If ``out`` cannot be written.
    """
    pulled = []
    for name, size in sorted(device.files(folder).items()):
        path = PurePosixPath(name)
        if path.name != _RESULT:
            continue
        if size > _MOST_BYTES or path.is_absolute() or ".." in path.parts:
            raise DeviceError(f"{device.serial}: {folder}/{name} is no result of the runner; it was not fetched.")
        target = out / path
        write_bytes(target, device.pull(f"{folder}/{name}"))
        pulled.append(target)
    return pulled
