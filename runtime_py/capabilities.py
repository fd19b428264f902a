"""What this machine can build: whether a target's toolchain is here, and what mends it where it is not."""

from collections.abc import Iterable

from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.targets import TARGETS, TargetKind


def why_not_buildable(target: TargetKind) -> str | None:
    """Return why a target's artifacts cannot be built here and what mends it, or `None` when they can.

    A target whose artifacts a device alone runs can be built all the same: what is not proved here is told as not run.
    """
    row = TARGETS[target]
    if row.sdk:
        return row.sdk.missing()
    return None if row.backend is BackendName.DEVICE else why_unusable(row.backend)


def with_sdk(targets: Iterable[TargetKind]) -> tuple[TargetKind, ...]:
    """Return the targets but those whose vendor's SDK is not here."""
    sdks = {target: TARGETS[target].sdk for target in targets}
    return tuple(target for target, sdk in sdks.items() if sdk is None or sdk.folder() is not None)
