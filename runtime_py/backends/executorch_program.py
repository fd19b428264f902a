"""Opens ExecuTorch programs through its native module: `executorch.runtime` would import the compiler with it."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final, Protocol

TORCH: Final = "torch"
BINDINGS: Final = "executorch.extension.pybindings._C"
METHOD: Final = "forward"
"""The method of a program's default function."""

Shapes = tuple[tuple[int, ...], ...]


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
