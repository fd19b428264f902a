"""The machine that figures were measured on, as far as they hang on it."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.instruction_set import InstructionSet, instruction_set
from pocketcrafter.runtime.memory import memory_mib

_TOOLS: Final = ("executorch", "numpy", "onnxruntime", "pocketcrafter", "torch")
_THERMAL: Final = Path("/sys/class/thermal")
_SPEED: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
_CPUINFO: Final = Path("/proc/cpuinfo")


class Machine(Config):
    """Where a measurement ran. Never a phone: a phone's figures come from the phone."""

    cpu: str = Field(max_length=200, description="The CPU's name as the system tells it.")
    instruction_set: InstructionSet = Field(description="What its vector instructions are: INT8 hangs on them.")
    cores: int = Field(ge=1, description="Cores of the machine.")
    usable_cores: int = Field(ge=1, description="Cores that the measurement was allowed to use.")
    ram_mib: int = Field(ge=0)
    system: str = Field(max_length=200)
    tools: dict[str, str] = Field(description="Versions of what computes.")
    load_before: float = Field(ge=0, description="Mean number of busy or waiting processes in the minute before.")

    @property
    def processor(self) -> str:
        """The CPU with its instruction set."""
        return f"{self.cpu} ({self.instruction_set})"

    @property
    def label(self) -> str:
        """How a figure of this machine must be labelled."""
        cores = f"{self.usable_cores} of {self.cores} cores"
        return f"host figure, not a phone's: {self.processor}, {cores}, {self.system}"


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    cores = os.cpu_count() or 1
    return Machine(
        cpu=_cpu_name()[:200],
        instruction_set=instruction_set(),
        cores=cores,
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores,
        ram_mib=memory_mib()[0],
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        tools=dict(_versions()),
        load_before=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def frequency_mhz() -> float | None:
    """Return the clock of the first core now; `None` where it cannot be read."""
    try:
        if _SPEED.exists():
            return int(_SPEED.read_text(encoding="ascii")) / 1000
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")), None)
    except (OSError, ValueError):
        return None


def temperature_celsius() -> float | None:
    """Return the hottest thermal zone now; `None` where none can be read."""
    found = []
    for zone in _THERMAL.glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text(encoding="ascii")) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def _cpu_name() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine() or "unknown"


def _versions() -> Iterator[tuple[str, str]]:
    for name in _TOOLS:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
