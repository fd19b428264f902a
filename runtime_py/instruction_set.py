"""The instruction set that decides how a processor multiplies integers: figures are told beside it."""

import platform
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")
_SYSCTL: Final = "/usr/sbin/sysctl"


class InstructionSet(StrEnum):
    """Vector instructions, by how products of 8-bit integers are computed with them."""

    AMX = "AMX"
    AVX512_VNNI = "AVX-512 VNNI"
    AVX_VNNI = "AVX-VNNI"
    AVX512 = "AVX-512"
    AVX2 = "AVX2"
    SSE = "SSE"
    NEON_I8MM = "NEON i8mm"
    NEON_DOTPROD = "NEON dotprod"
    NEON = "NEON"
    UNKNOWN = "unknown"


_LINUX: Final = {
    "amx_int8": InstructionSet.AMX,
    "avx512_vnni": InstructionSet.AVX512_VNNI,
    "avx_vnni": InstructionSet.AVX_VNNI,
    "avx512bw": InstructionSet.AVX512,
    "avx2": InstructionSet.AVX2,
    "sse2": InstructionSet.SSE,
    "i8mm": InstructionSet.NEON_I8MM,
    "asimddp": InstructionSet.NEON_DOTPROD,
    "asimd": InstructionSet.NEON,
}
"""What ``/proc/cpuinfo`` calls them, the most capable first."""

_MACOS: Final = {
    "hw.optional.avx512vnni": InstructionSet.AVX512_VNNI,
    "hw.optional.avx512bw": InstructionSet.AVX512,
    "hw.optional.avx2_0": InstructionSet.AVX2,
    "hw.optional.arm.FEAT_I8MM": InstructionSet.NEON_I8MM,
    "hw.optional.arm.FEAT_DotProd": InstructionSet.NEON_DOTPROD,
    "hw.optional.AdvSIMD": InstructionSet.NEON,
}
"""What ``sysctl`` calls them."""


def instruction_set() -> InstructionSet:
    """Return the most capable instruction set of this machine's processor; `UNKNOWN` where it cannot be told."""
    known, told = (_MACOS, _from_sysctl()) if platform.system() == "Darwin" else (_LINUX, _from_cpuinfo(_CPUINFO))
    return next((found for name, found in known.items() if name in told), InstructionSet.UNKNOWN)


def _from_cpuinfo(path: Path) -> frozenset[str]:
    """Return the flags of the first processor, which x86 calls flags and ARM calls features."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(flags, "").split())


def _from_sysctl() -> frozenset[str]:
    """Return the names of the features that a Mac has; one that it does not know is left out of the answer."""
    try:
        told = subprocess.run([_SYSCTL, *_MACOS], capture_output=True, text=True, check=False).stdout  # noqa: S603
    except OSError:
        return frozenset()
    pairs = (line.partition(":") for line in told.splitlines())
    return frozenset(name for name, _, value in pairs if value.strip() == "1")
