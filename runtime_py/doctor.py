"""What this machine has, what can run on it, and the command that mends what is missing."""

import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.ort_sessions import saturates
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.capabilities import DISTRIBUTION, ExtraState, extra_state, why_not_buildable
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.instruction_set import InstructionSet, instruction_set
from pocketcrafter.runtime.memory import memory_mib
from pocketcrafter.runtime.targets import TARGETS

_EXTRAS: Final = ("latent", "build", "qnn", "coreml", "coreai", "litert")
_MIB: Final = 1 << 20


class BackendState(Config):
    """Whether a backend runs here."""

    name: BackendName
    targets: tuple[str, ...] = Field(description="Target kinds whose artifacts it runs.")
    reason: str | None = Field(description="Why it cannot run, with the command that mends it; null when it can.")


class TargetState(Config):
    """What a target can do, and whether it can be built here."""

    name: str
    computes: str = Field(description="Arithmetic of its accelerator.")
    proof: str = Field(description="What runs its artifacts on this side of a device.")
    reason: str | None = Field(description="Why it cannot be built, with what mends it; null when it can.")


class Diagnosis(Config):
    """The state of this installation and machine."""

    version: str
    python: str
    system: str
    cores: int
    instruction_set: InstructionSet = Field(description="Vector instructions of the processor.")
    saturating_products: bool = Field(
        description="Whether ONNX Runtime's 8-bit products saturate here, so that sessions store weights unsigned."
    )
    ram_mib: int
    free_ram_mib: int
    free_disk_mib: int
    extras: tuple[ExtraState, ...]
    backends: tuple[BackendState, ...]
    targets: tuple[TargetState, ...]

    @property
    def ok(self) -> bool:
        """Whether the runtime is complete and some backend runs; the extras are optional."""
        return self.extras[0].installed and any(b.reason is None for b in self.backends)


def diagnose() -> Diagnosis:
    """Look at this machine; imports nothing heavy."""
    ram, free = memory_mib()
    kinds = {name: tuple(row.kind for row in TARGETS.values() if row.backend is name) for name in BackendName}
    return Diagnosis(
        version=version(DISTRIBUTION),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        instruction_set=instruction_set(),
        saturating_products=saturates(),
        ram_mib=ram,
        free_ram_mib=free,
        free_disk_mib=free_disk_mib(Path.cwd()),
        extras=(extra_state(None), *(extra_state(extra) for extra in _EXTRAS)),
        backends=tuple(BackendState(name=n, targets=kinds[n], reason=why_unusable(n)) for n in BackendName),
        targets=tuple(
            TargetState(name=t, computes=row.computes, proof=row.proof, reason=why_not_buildable(t))
            for t, row in TARGETS.items()
        ),
    )


def free_disk_mib(folder: Path) -> int:
    """Return the free space in MiB where a folder lies, or would lie."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // _MIB
