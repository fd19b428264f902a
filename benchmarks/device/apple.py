"""iPhones and iPads by `xcrun devicectl`, which only a Mac with Xcode 15 or newer has."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.device.adb import DeviceError, Listed

_SECONDS: Final = 60


def list_apple_devices() -> list[Listed]:
    """Return every iOS device that Xcode knows.

    Raises
    ------
    DeviceError
        If there is no `xcrun`, or it has no `devicectl`, or what it says is not what it documents.
    """
    xcrun = shutil.which("xcrun")
    if xcrun is None:
        raise DeviceError("iOS devices are reached by `xcrun devicectl`, which comes with Xcode 15 on a Mac; not here.")
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-device-") as folder:
        listing = Path(folder) / "devices.json"
        command = [xcrun, "devicectl", "list", "devices", "--json-output", str(listing)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)  # noqa: S603
            devices = json.loads(listing.read_text(encoding="utf-8"))["result"]["devices"]
            return [
                Listed(
                    serial=str(d["identifier"]),
                    state=str(d["connectionProperties"].get("tunnelState", "unknown")),
                    model=str(d["hardwareProperties"].get("marketingName", "")),
                    abi=str(d["hardwareProperties"].get("cpuType", {}).get("name", "")),
                )
                for d in devices
            ]
        except subprocess.CalledProcessError as error:
            reason = (error.stderr or "").strip().splitlines()[-1:] or ["no reason given"]
            raise DeviceError(f"`xcrun devicectl` failed ({reason[0]}): it needs Xcode 15 or newer.") from error
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DeviceError(f"`xcrun devicectl` did not answer as it documents ({error}).") from error
