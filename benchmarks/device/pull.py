"""Fetches what runs left on a device."""

from pathlib import Path, PurePosixPath
from typing import Final

from pocketcrafter.benchmarks.device.adb import AdbDevice
from pocketcrafter.benchmarks.device.errors import DeviceError
from pocketcrafter.runtime.files import write_bytes

_MOST_BYTES: Final = 1 << 20
_RESULT: Final = "result.json"


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
