"""ExecuTorch with XNNPACK on the CPU: the backend of `executorch-xnnpack` targets, imported only when it is used.

Programs are opened through the native module: `executorch.runtime` would import the compiler with it.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final, Protocol

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session, checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

TORCH: Final = "torch"
BINDINGS: Final = "executorch.extension.pybindings._C"
METHOD: Final = "forward"
"""The method of a program's default function."""

Shapes = tuple[tuple[int, ...], ...]
_NEEDED: Final = ("torch", "executorch")


class Method(Protocol):
    """A method of a program, as ExecuTorch's native module has it; tensors are torch's."""

    def __call__(self, inputs: list[Any]) -> list[Any]:
        """Run once."""

    def method_meta(self) -> Any:  # noqa: ANN401 - untyped package
        """Return what it takes and gives."""


@contextmanager
def native_log() -> Iterator[None]:
    """Send what ExecuTorch logs to the file descriptors 1 and 2, as other libraries' native code does.

    Its module writes to whatever is Python's standard error: among what a command says, not where libraries are sent.
    """
    with redirect_stdout(sys.__stdout__), redirect_stderr(sys.__stderr__):
        yield


def bindings() -> Any:  # noqa: ANN401 - untyped package
    """Return ExecuTorch's native module; by name, because the runtime's static imports must stay free of torch.

    Where `executorch.runtime` takes 12 s to import, torch included, this takes 4.
    """
    with native_log():
        importlib.import_module(TORCH)  # whose libraries the module is linked to
        return importlib.import_module(BINDINGS)


def load_method(path: Path, name: str = METHOD) -> tuple[object, Method]:
    """Load a method of a program.

    Parameters
    ----------
    path
        A `.pte`; its weights are mapped into memory, not read.
    name
        Which method.

    Returns
    -------
    tuple
        What owns the memory that the method runs in, to be kept as long as it; and the method.

    Raises
    ------
    RuntimeError, ValueError
        ExecuTorch's own, if this is no program, or it has no such method or one that does not run here.
    """
    native = bindings()
    with native_log():
        program = native._load_program(str(path), program_verification=native.Verification.Minimal)
        return program, program.load_method(name)


def shapes(method: Method) -> tuple[Shapes, Shapes]:
    """Return the shapes of a method's inputs and outputs."""
    about = method.method_meta()
    inputs = tuple(tuple(about.input_tensor_meta(i).sizes()) for i in range(about.num_inputs()))
    outputs = tuple(tuple(about.output_tensor_meta(i).sizes()) for i in range(about.num_outputs()))
    return inputs, outputs


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
