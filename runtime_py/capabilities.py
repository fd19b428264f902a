"""What this machine can build: whether a target's toolchain is here, and what mends it where it is not."""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from pydantic import Field

from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.targets import TARGETS, TargetKind

DISTRIBUTION: Final = "pocketcrafter"
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


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
    if row.sdk and (reason := row.sdk.missing()):
        return reason
    return None if row.backend is BackendName.DEVICE else why_unusable(row.backend)


def with_sdk(targets: Iterable[TargetKind]) -> tuple[TargetKind, ...]:
    """Return the targets but those whose own toolchain is not here, or not released yet."""
    rows = {target: TARGETS[target] for target in targets}
    return tuple(t for t, row in rows.items() if not row.awaits and (row.sdk is None or row.sdk.folder() is not None))


def extra_state(extra: str | None) -> ExtraState:
    """Compare what an extra (`None`: the runtime itself) requires with what is installed."""
    packages, missing = {}, []
    for name in _required(extra):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            missing.append(name)
    wanted = f"{DISTRIBUTION}[{extra}]" if extra else DISTRIBUTION
    return ExtraState(
        name=extra or "runtime", packages=packages, missing=tuple(missing), mend=f"pip install '{wanted}'"
    )


def _required(extra: str | None) -> list[str]:
    names = []
    for requirement in requires(DISTRIBUTION) or []:
        text, _, marker = requirement.partition(";")
        match = _NAME.match(text.strip())
        wanted = f'extra == "{extra}"' if extra else ""
        if match and match[0].lower() != DISTRIBUTION and (wanted in marker if extra else "extra" not in marker):
            names.append(match[0])
    return sorted(set(names))


def _listed(names: tuple[str, ...], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
