"""The stand-in for targets whose artifacts no machine but a phone runs: it says so, and runs nothing."""

from pathlib import Path
from typing import Final

from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

ONLY_A_DEVICE: Final = "its artifacts run on a phone only: re-run the goldens there"


class DeviceBackend:
    """Runs nothing: what it stands for is a phone."""

    def missing(self) -> str | None:
        """Return why nothing runs here; no installation mends it."""
        return ONLY_A_DEVICE

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:  # noqa: ARG002 - no phone is here
        """Refuse.

        Parameters
        ----------
        artifact
            Named in the message.
        spec, threads
            Not used.

        Raises
        ------
        BackendError
            Always.
        """
        raise BackendError(f"{artifact}: {ONLY_A_DEVICE}.")
