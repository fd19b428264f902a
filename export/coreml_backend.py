"""The backend of Core ML's targets: an interpreter of their packages, which any machine can run."""

import importlib.util
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_NEEDS: Final = ("torch", "coremltools")


class MilBackend:
    """Interprets packages; every layer is rounded to its declared type. Needs the extras `build` and `coreml`.

    Asked whether it can run, it imports nothing: a build that is up to date does not wait for torch.
    """

    def missing(self) -> str | None:
        """Return the command that installs what is missing, or `None` when all is there."""
        if absent := [name for name in _NEEDS if importlib.util.find_spec(name) is None]:
            return f"{' and '.join(absent)} not installed: pip install 'pocketcrafter[build,coreml]'"
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open a package.

        Parameters
        ----------
        artifact
            An ``.mlpackage``, or a ``.pte`` with one inside.
        spec
            The component's contract.
        threads
            Threads to compute with; torch has one setting for the whole process, and the last session decides it.

        Raises
        ------
        BackendError
            If a distribution is missing, or the package cannot be read or does not keep the spec.
        """
        return self._open(artifact, spec, threads, None)

    def open_function(self, artifact: Path, spec: ComponentSpec, threads: int, function: str) -> Session:
        """Open one function of a package.

        Parameters
        ----------
        artifact, spec, threads, function
            As for :meth:`pocketcrafter.runtime.backends.base.FunctionBackend.open_function`.

        Raises
        ------
        BackendError
            As for :meth:`open`, or if the package has no such function.
        """
        return self._open(artifact, spec, threads, function)

    def _open(self, artifact: Path, spec: ComponentSpec, threads: int, function: str | None) -> Session:
        self._check()
        import torch  # noqa: PLC0415

        from pocketcrafter.export.lower.coreml.session import open_package  # noqa: PLC0415
        from pocketcrafter.export.lower.mil_interpreter import Mode  # noqa: PLC0415

        torch.set_num_threads(threads)
        return open_package(artifact, spec, Mode.DECLARED, function)

    def _check(self) -> None:
        if reason := self.missing():
            raise BackendError(f"The mil-interpreter backend cannot run: {reason}")
