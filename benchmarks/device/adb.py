"""Android devices over adb: what adbutils offers, with errors that say what to do."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pocketcrafter.runtime.errors import BackendError, PocketCrafterError

if TYPE_CHECKING:
    import adbutils

READY: Final = "device"
_UNAUTHORIZED: Final = "unauthorized"
_UNTRUSTED: Final = frozenset({_UNAUTHORIZED, "authorizing"})
_SHELL_SECONDS: Final = 30.0
_TRUST: Final = "Unlock it, answer its question whether to trust this computer with yes, and try again."


class DeviceError(PocketCrafterError):
    """A device, or what talks to it, does not do what it should."""


class NoDeviceError(DeviceError):
    """No device is there, or none of the name that was given."""


class SeveralDevicesError(DeviceError):
    """More than one device is there, and none was named."""


class UnauthorizedError(DeviceError):
    """The device has not been told to trust this computer."""


class DisconnectedError(DeviceError):
    """The device went away, or does not answer."""


class DeviceFullError(DeviceError):
    """The device has no room for what is to be pushed."""


class WrongAbiError(DeviceError):
    """The runner was compiled for another processor."""


class RunnerError(DeviceError):
    """The runner ended with an error of its own."""


class RunnerKilledError(RunnerError):
    """The runner was killed."""


@dataclass(frozen=True)
class Listed:
    """A device as the adb server lists it; ``state`` is `READY` or why it is not."""

    serial: str
    state: str
    model: str = ""
    abi: str = ""


class AdbDevice:
    """One device that is ready; every method raises `DisconnectedError` where it goes away.

    Parameters
    ----------
    device
        As adbutils has it.
    """

    def __init__(self, device: "adbutils.AdbDevice") -> None:
        self._device = device
        self.serial = device.serial or ""

    def run(self, command: str, seconds: float = _SHELL_SECONDS) -> tuple[int, str]:
        """Run a shell command; returns its exit code and what it printed, errors too."""
        with _translated(self.serial):
            answer = self._device.shell2(command, timeout=seconds)
        return answer.returncode, answer.output.strip()

    def push(self, content: Path | bytes, remote: str, *, executable: bool = False) -> None:
        """Copy a file or bytes to the device.

        Parameters
        ----------
        content
            A file here, or bytes.
        remote
            The path on the device.
        executable
            Whether it may be run there.

        Raises
        ------
        DeviceFullError
            If there is no room.
        DeviceError
            If it cannot be written for another reason.
        """
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        import adbutils  # noqa: PLC0415 - an extra

        with _translated(self.serial):
            try:
                self._device.sync.push(content, remote, mode=0o755 if executable else 0o644, check=True)
            except adbutils.AdbTimeout:
                raise
            except (adbutils.AdbError, BrokenPipeError, ConnectionResetError) as error:
                folder = remote.rpartition("/")[0]
                if self.free_bytes(folder) < size:
                    raise DeviceFullError(_full(self.serial, folder, size, self.free_bytes(folder))) from error
                if self.run(f"test -w {shlex.quote(folder)}")[0]:
                    raise DeviceError(f"{self.serial}: {folder} cannot be written; choose another --folder.") from error
                raise DisconnectedError(f"{self.serial}: pushing {remote} broke off ({error}); try again.") from error

    def pull(self, remote: str) -> bytes:
        """Return a file's content.

        Raises
        ------
        DeviceError
            If it is not there.
        """
        code, _ = self.run(f"test -f {shlex.quote(remote)}")
        if code:
            raise DeviceError(f"{self.serial}: {remote} is not there; push and run first.")
        with _translated(self.serial):
            return bytes(self._device.sync.read_bytes(remote))

    def files(self, folder: str) -> dict[str, int]:
        """Return the sizes of the files below a folder by their paths relative to it; none where it is not there."""
        code, answer = self.run(f"cd {shlex.quote(folder)} 2>/dev/null && find . -type f -exec wc -c {{}} \\;")
        if code:
            return {}
        pairs = (line.strip().partition(" ") for line in answer.splitlines())
        return {path.strip().removeprefix("./"): int(size) for size, _, path in pairs if size.isdigit()}

    def make_folder(self, folder: str) -> None:
        """Make a folder with its parents.

        Raises
        ------
        DeviceError
            If it cannot be made.
        """
        code, answer = self.run(f"mkdir -p {shlex.quote(folder)}")
        if code:
            raise DeviceError(f"{self.serial}: {folder} cannot be made ({answer}); choose another --folder.")

    def remove(self, folder: str) -> None:
        """Remove a folder and all in it."""
        self.run(f"rm -rf {shlex.quote(folder)}")

    def free_bytes(self, folder: str) -> int:
        """Return the room that is left where a folder lies."""
        _, answer = self.run(f"df -k {shlex.quote(folder)}")
        words = answer.splitlines()[-1].split() if answer else []
        # Size, used, available, use, place: what comes before may have been broken off for being long.
        return 1024 * int(words[-3]) if len(words) >= 5 and words[-3].isdigit() else 0

    def require_room(self, folder: str, size: int) -> None:
        """Check that a file fits.

        Raises
        ------
        DeviceFullError
            If so many bytes do not fit where the folder lies.
        """
        if (free := self.free_bytes(folder)) < size:
            raise DeviceFullError(_full(self.serial, folder, size, free))

    def android_property(self, name: str) -> str:
        """Return an Android property; empty where there is none."""
        code, answer = self.run(f"getprop {shlex.quote(name)}")
        return "" if code else answer

    def machine(self) -> str:
        """Return the processor's architecture as the kernel calls it, as in ``aarch64``."""
        return self.run("uname -m")[1]


def list_devices() -> list[Listed]:
    """Return every device that the adb server knows, whether it is ready or not.

    Raises
    ------
    BackendError
        If adbutils is not installed.
    DisconnectedError
        If there is no adb server, and none can be started.
    """
    client = _client()
    with _translated("adb"):
        infos = client.list()
    found = []
    for info in infos:
        if info.state == READY:
            device = AdbDevice(client.device(info.serial))
            found.append(Listed(info.serial, info.state, device.android_property("ro.product.model"), device.machine()))
        else:
            found.append(Listed(info.serial, info.state))
    return found


def open_device(serial: str | None) -> AdbDevice:
    """Return the device of a serial number, or the only one.

    Raises
    ------
    NoDeviceError, SeveralDevicesError, UnauthorizedError, DisconnectedError
        If it is not there, not the only one, does not trust this computer, or does not answer.
    BackendError
        If adbutils is not installed.
    """
    client = _client()
    with _translated("adb"):
        states: Mapping[str, str] = {info.serial: info.state for info in client.list()}
    if not states:
        raise NoDeviceError("No Android device is there: plug it in, and switch USB debugging on in its settings.")
    if serial is None and len(states) > 1:
        raise SeveralDevicesError(f"{len(states)} devices are there: {', '.join(states)}. Name one with --serial.")
    chosen = serial or next(iter(states))
    if chosen not in states:
        raise NoDeviceError(f"No device {chosen} is there; there is {', '.join(states)}.")
    if states[chosen] in _UNTRUSTED:
        raise UnauthorizedError(f"{chosen} does not trust this computer. {_TRUST}")
    if states[chosen] != READY:
        raise DisconnectedError(f"{chosen} is {states[chosen]}: plug it out and in again, or restart it.")
    return AdbDevice(client.device(chosen))


def _client() -> "adbutils.AdbClient":
    try:
        import adbutils  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise BackendError(f"Devices need adbutils ({error}): pip install 'pocketcrafter[device]'") from error
    return adbutils.AdbClient(socket_timeout=_SHELL_SECONDS)


def _full(serial: str, folder: str, size: int, free: int) -> str:
    return (
        f"{serial}: {folder} has {free / 2**20:.1f} MiB left, and {size / 2**20:.1f} MiB are to be pushed. Make room "
        "on the device, or choose another --folder."
    )


@contextmanager
def _translated(serial: str) -> Iterator[None]:
    """Turn what adbutils raises into errors that say what to do."""
    import adbutils  # noqa: PLC0415 - an extra

    try:
        yield
    except adbutils.AdbTimeout as error:
        raise DisconnectedError(f"{serial} does not answer in time ({error}): is it asleep or unplugged?") from error
    except (adbutils.AdbError, OSError, EOFError, RuntimeError) as error:
        if _UNAUTHORIZED in str(error):
            raise UnauthorizedError(f"{serial} does not trust this computer. {_TRUST}") from error
        raise DisconnectedError(f"{serial} went away ({error}): check the cable, and try again.") from error
