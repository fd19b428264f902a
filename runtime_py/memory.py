"""Memory, of the machine and of this process, as the system accounts for it."""

import os
import platform
from pathlib import Path
from typing import Final

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MIB: Final = 1 << 20


def memory_mib() -> tuple[int, int]:
    """Return the RAM of this machine and the part that is free for new work, in MiB; (0, 0) where it cannot be told."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
    except (AttributeError, ValueError, OSError):
        return 0, 0
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return total, total
    return total, available * 1024 // _MIB


def resident_mib() -> tuple[float, float]:
    """Return this process's resident memory, now and at its highest, in MiB; zeros where it cannot be told.

    Linux hands `ru_maxrss` of a parent on to its children, so that a small child of a large parent looks large: the
    kernel's own account of this process is read instead.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        pairs = (line.partition(":") for line in lines)
        kib = {key: int(rest.split()[0]) for key, _, rest in pairs if key in {"VmRSS", "VmHWM"}}
        return kib["VmRSS"] / 1024, kib["VmHWM"] / 1024
    except (OSError, KeyError):
        return _peak_by_resource()


def largest_child_mib() -> float:
    """Return the highest resident memory of any process that this one has waited for, in MiB; 0 on Windows."""
    return 0.0 if resource is None else _peak_mib(resource.RUSAGE_CHILDREN)


def _peak_by_resource() -> tuple[float, float]:
    peak = 0.0 if resource is None else _peak_mib(resource.RUSAGE_SELF)
    return peak, peak


def _peak_mib(who: int) -> float:
    peak: int = resource.getrusage(who).ru_maxrss
    return peak / (1024**2 if platform.system() == "Darwin" else 1024)
