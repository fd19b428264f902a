"""What this machine has, can run and can build, and the command that mends what is missing."""

import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from pydantic import Field

from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.onnxruntime import saturates
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.instruction_set import InstructionSet, instruction_set
from pocketcrafter.runtime.memory import memory_mib
from pocketcrafter.runtime.requirements import DISTRIBUTION, required, unmet
from pocketcrafter.runtime.targets import TARGETS, TargetKind, VendorSdk

_EXTRAS: Final = ("latent", "build", "qnn", "coreml", "coreai", "litert")
_PACKAGES: Final = "lib/python*/site-packages"
"""Where an environment of its own has its packages."""
_MIB: Final = 1 << 20


class ExtraState(Config):
    """One optional part of the installation; the runtime itself is called ``runtime``."""

    name: str
    packages: Mapping[str, str] = Field(description="Installed packages and their versions.")
    missing: tuple[str, ...] = Field(description="Packages that are not installed.")
    mend: str = Field(description="The command that installs what is missing.")

    @property
    def installed(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def why_not_buildable(target: TargetKind) -> str | None:
    """Return why a target's artifacts cannot be built here and what mends it, or `None` when they can.

    A target whose artifacts a device alone runs can be built all the same: what is not proved here is told as not run.
    """
    row, build = TARGETS[target], extra_state("build")
    if row.awaits:
        return row.awaits
    if not build.installed:
        return f"the tools that build it are not installed ({_listed(build.missing)}): {build.mend}"
    if row.sdk and (reason := why_no_sdk(row.sdk)):
        return reason
    return None if row.backend is BackendName.DEVICE else why_unusable(row.backend)


def why_no_sdk(sdk: VendorSdk) -> str | None:
    """Return what to get and which variable to set, or `None` when the variable leads to what is needed."""
    named, folder = os.environ.get(sdk.variable, ""), sdk.folder()
    if folder is None:
        state = f"{sdk.variable} is {named!r}, which is no folder" if named else f"{sdk.variable} is not set"
    elif lacks := unmet(map(Requirement, sdk.packages), [f"{path}" for path in folder.glob(_PACKAGES)]):
        has = ", ".join(f"{version or 'nothing'} for {wanted}" for wanted, version in lacks.items())
        state = f"{folder} has {has}"
    else:
        return None
    return f"needs {sdk.name} ({sdk.source}); set {sdk.variable} to {sdk.content} ({state})"


def with_sdk(targets: Iterable[TargetKind]) -> tuple[TargetKind, ...]:
    """Return the targets but those whose own toolchain is not here, or not released yet."""
    rows = {target: TARGETS[target] for target in targets}
    return tuple(t for t, row in rows.items() if not row.awaits and (row.sdk is None or row.sdk.folder() is not None))


def extra_state(extra: str | None) -> ExtraState:
    """Compare what an extra (`None`: the runtime itself) requires with what is installed."""
    packages, missing = {}, []
    for name in sorted({requirement.name for requirement in required(extra)}):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            missing.append(name)
    wanted = f"{DISTRIBUTION}[{extra}]" if extra else DISTRIBUTION
    return ExtraState(
        name=extra or "runtime", packages=packages, missing=tuple(missing), mend=f"pip install '{wanted}'"
    )


def _listed(names: tuple[str, ...], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


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
