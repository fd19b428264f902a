"""ExecuTorch with XNNPACK on the CPU: the backend of `executorch-xnnpack` targets, imported only when it is used."""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.executorch_program import (
    METHOD,
    TORCH,
    Method,
    Shapes,
    bindings,
    load_method,
    native_log,
    shapes,
)
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_NEEDED: Final = ("torch", "executorch")


class ExecutorchBackend:
    """Runs `.pte` artifacts; needs the extra `build`."""

    def missing(self) -> str | None:
        """Return the command that installs ExecuTorch, or `None` when it is there."""
        absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if absent:
            return f"{' and '.join(absent)} not installed: pip install 'pocketcrafter[build]'"
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open a program; ``threads`` is one setting of the whole process, so the last opened session decides it.

        Parameters
        ----------
        artifact
            A ``.pte`` program.
        spec
            What its inputs and outputs must be.
        threads
            Threads of the process's one pool, ≥ 1.

        Raises
        ------
        BackendError
            If ExecuTorch is missing, or the file is not a program that runs here or keeps the spec.
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
            Threads of the process's one pool, ≥ 1.
        function
            The method's name.

        Raises
        ------
        BackendError
            As :meth:`open`, or if the program has no such method.
        """
        if reason := self.missing():
            raise BackendError(f"The executorch backend cannot run: {reason}")
        native = bindings()
        with native_log():
            native._unsafe_reset_threadpool(threads)
        try:
            owner, method = load_method(artifact, function)
        except Exception as error:  # ExecuTorch raises plain RuntimeError and ValueError
            raise BackendError(f"{artifact}: ExecuTorch cannot open it: {error}") from error
        check_contract(artifact, shapes(method), spec)
        return _ExecutorchSession(owner, method, spec)


class _ExecutorchSession:
    def __init__(self, owner: object, method: Method, spec: ComponentSpec) -> None:
        self._owner = owner
        self._method = method
        self._spec = spec
        self._torch = importlib.import_module(TORCH)

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        feeds = checked_inputs(inputs, self._spec)
        # A read-only array makes torch warn; numpy copies it, as torch would do so in threads of its own.
        tensors = [self._torch.from_numpy(a if a.flags.writeable else a.copy()) for a in feeds.values()]
        try:
            with native_log():
                outputs = self._method(tensors)
        except Exception as error:  # as above
            raise BackendError(f"ExecuTorch failed in `{self._spec.name}`: {error}") from error
        # An output may alias the program's memory.
        return named_outputs([o.numpy().copy() for o in outputs], self._spec)


def check_contract(artifact: Path, has: tuple[Shapes, Shapes], spec: ComponentSpec) -> None:
    """Raise `BackendError` where a program's inputs and outputs are not those of a component.

    Parameters
    ----------
    artifact
        Named in the message.
    has
        The program's shapes of inputs and of outputs, in order.
    spec
        The component's contract.

    Raises
    ------
    BackendError
        If the shapes differ from the contract's.
    """
    wants = tuple(t.shape for t in spec.inputs), tuple(t.shape for t in spec.outputs)
    if has != wants:
        raise BackendError(
            f"{artifact}: the program maps {has[0]} to {has[1]}; the contract of `{spec.name}` maps "
            f"{wants[0]} to {wants[1]}."
        )
