"""Finds the Core ML package inside an ExecuTorch program, so that the interpreter can run the whole program from it."""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pocketcrafter.runtime.errors import BackendError

_DELEGATE: Final = "CoreMLBackend"
_ROOT: Final = "lowered_module"
_PACKAGE: Final = "model.mlpackage"
_METADATA: Final = "metadata.json"


@dataclass(frozen=True)
class ProgramPackage:
    """A package that is a whole program, and what the program calls the package's ends."""

    package: Path
    inputs: tuple[str, ...]
    """The package's names, in the order of the program's inputs."""
    outputs: tuple[str, ...]


def extract_package(program: Path, folder: Path) -> ProgramPackage:
    """Unpack the one Core ML delegate of a program.

    Parameters
    ----------
    program
        A ``.pte``.
    folder
        Where the package goes; exists and is empty.

    Raises
    ------
    BackendError
        If the file is no program, or is anything but one call of one Core ML package.
    """
    deserialize = importlib.import_module("executorch.exir._serialize._program").deserialize_pte_binary
    unpack = importlib.import_module("executorch.backends.apple.coreml.executorchcoreml").unflatten_directory_contents
    try:
        content = deserialize(program.read_bytes()).program
        (plan,) = content.execution_plan
        (delegate,) = plan.delegates
        ((instruction,),) = (chain.instructions for chain in plan.chains)
        calls = list(instruction.instr_args.args)
        blob = content.backend_delegate_data[delegate.processed.index].data
    except Exception as error:  # the reader of flatbuffers raises whatever it meets
        raise BackendError(f"{program}: not a program of one Core ML package alone: {error}") from error
    if delegate.id != _DELEGATE or not unpack(bytes(blob), str(folder)):
        raise BackendError(f"{program}: its delegate is {delegate.id}; the interpreter runs {_DELEGATE} alone.")
    names = _names(folder / _ROOT / _METADATA, program)
    ends = [*plan.inputs, *plan.outputs]
    if sorted(calls) != sorted(ends) or len(names[0]) != len(plan.inputs):
        raise BackendError(f"{program}: the program's ends are not its Core ML package's.")
    by_value = dict(zip(calls, [*names[0], *names[1]], strict=True))
    return ProgramPackage(
        package=folder / _ROOT / _PACKAGE,
        inputs=tuple(by_value[value] for value in plan.inputs),
        outputs=tuple(by_value[value] for value in plan.outputs),
    )


def _names(metadata: Path, program: Path) -> tuple[list[str], list[str]]:
    try:
        said: dict[str, Any] = json.loads(metadata.read_bytes())
        return [str(name) for name in said["inputNames"]], [str(name) for name in said["outputNames"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{program}: its Core ML package does not name its inputs and outputs: {error}") from error
