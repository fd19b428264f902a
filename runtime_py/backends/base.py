"""What a backend is: something that opens a component's artifact and runs it on float32 arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec


class Session(Protocol):
    """An opened component, warm after its first run."""

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run once.

        Parameters
        ----------
        inputs
            One contiguous float32 array per input of the component's spec, by name and of its shape.

        Returns
        -------
        dict
            One float32 array per output of the spec.

        Raises
        ------
        ShapeMismatchError
            If an input is missing, unknown or of another shape.
        BackendError
            If the backend fails.
        """


class Backend(Protocol):
    """A way to run the artifacts of one kind of target on this machine."""

    def missing(self) -> str | None:
        """Return why the backend cannot run here and the command that mends it, or `None` when it can."""

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open one artifact; ``threads`` ≥ 1."""
