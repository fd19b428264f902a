"""ExecuTorch programs for Snapdragons on QNN's HTP emulator: the backend of `executorch-qnn` targets; not a device."""

import importlib.util
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session, checked_inputs, named_outputs
from pocketcrafter.runtime.backends.executorch import METHOD, ExecutorchBackend, check_contract
from pocketcrafter.runtime.backends.executorch_qnn_child import DELEGATE, PROGRAM, ProgramFacts, QnnProgramJob
from pocketcrafter.runtime.backends.processes import JOB, StandingProcess
from pocketcrafter.runtime.backends.qnn import ROOM, why_no_qnn
from pocketcrafter.runtime.backends.qnn_child import inputs_file, outputs_file, read_values, write_values
from pocketcrafter.runtime.backends.qnn_sdk import qnn_environment
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_NEEDED: Final = ("torch", "executorch")
_ENGINE: Final = "QNN's emulator"
_CHILD: Final = "pocketcrafter.runtime.backends.executorch_qnn_child"


def why_no_executorch_qnn() -> str | None:
    """Return why ExecuTorch's programs for QNN cannot run here and what mends it, or `None` when they can."""
    if absent := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        return f"{' and '.join(absent)} not installed: pip install 'pocketcrafter[build,qnn]'"
    return why_no_qnn()


class ExecutorchQnnBackend:
    """Runs the artifacts of `executorch-qnn` targets on the HTP emulator; needs the extras `build` and `qnn`."""

    def missing(self) -> str | None:
        """Return why the emulator cannot run here and the command that mends it, or `None` when it can."""
        return why_no_executorch_qnn()

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open a program and compare its inputs and outputs with the spec; the emulator has one thread.

        A program without QNN in it was left to the CPU in float32, and XNNPACK runs it there.

        Parameters
        ----------
        artifact
            A ``.pte`` program.
        spec
            What its inputs and outputs must be.
        threads
            Used only where XNNPACK runs the program.

        Raises
        ------
        BackendError
            If a package is missing, or the file is not a program that keeps the spec.
        """
        return self.open_function(artifact, spec, threads, METHOD)

    def open_function(self, artifact: Path, spec: ComponentSpec, threads: int, function: str) -> Session:
        """Open a method of a program; the rest as in :meth:`open`.

        Parameters
        ----------
        artifact
            A ``.pte`` program.
        spec
            What the method's inputs and outputs must be.
        threads
            Used only where XNNPACK runs the program.
        function
            The method's name.

        Raises
        ------
        BackendError
            As :meth:`open`, or if the program has no such method.
        """
        if not _is_for_qnn(artifact):
            return ExecutorchBackend().open_function(artifact, spec, threads, function)
        session = _ProgramSession(artifact, spec, function)
        check_contract(artifact, (session.facts.inputs, session.facts.outputs), spec)
        return session


def _is_for_qnn(artifact: Path) -> bool:
    try:
        return DELEGATE.encode() in artifact.read_bytes()
    except OSError as error:
        raise BackendError(f"{artifact}: cannot be read: {error}") from error


class _ProgramSession:
    """Keeps a process in which the program is loaded: loading it takes longer than most runs."""

    def __init__(self, artifact: Path, spec: ComponentSpec, function: str) -> None:
        self._spec = spec
        self._room = tempfile.TemporaryDirectory(prefix=ROOM)
        self._folder = Path(self._room.name)
        job = QnnProgramJob(program=artifact.resolve(), method=function, samples=None)
        (self._folder / JOB).write_text(job.model_dump_json(), encoding="utf-8")
        self._process = StandingProcess(_CHILD, self._folder, artifact, _ENGINE, environment=qnn_environment())
        self.facts = ProgramFacts.model_validate_json((self._folder / PROGRAM).read_bytes())

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        write_values(inputs_file(self._folder, 0), checked_inputs(inputs, self._spec).values())
        self._process.ask(0)
        return named_outputs(read_values(outputs_file(self._folder, 0)), self._spec)
