"""Runs Core ML packages (also the one inside a ``.pte``) on any machine: the MIL interpreter behind a session."""

import importlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter import Divergence, Interpreter, Mode, first_divergence, read_package
from pocketcrafter.export.lower.mil_interpreter.divergence import plain_name
from pocketcrafter.export.lower.mil_interpreter.program import Op, Port, Program
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session, checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_DELEGATE: Final = "CoreMLBackend"
_ROOT: Final = "lowered_module"
_PACKAGE: Final = "model.mlpackage"
_METADATA: Final = "metadata.json"
_PROGRAM: Final = ".pte"


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


def open_package(artifact: Path, spec: ComponentSpec, mode: Mode, function: str | None = None) -> Session:
    """Open a function of a package, or of the one in a ``.pte``, that keeps a component's contract.

    A function that keeps tensors between calls keeps it too: what the contract hands in as ``x`` is put into its state
    ``x`` before each run.

    Parameters
    ----------
    artifact
        An ``.mlpackage`` or a ``.pte``.
    spec
        The component's contract.
    mode
        Whether layers are rounded to their declared types.
    function
        Which function; the package's default one if none is named.

    Raises
    ------
    BackendError
        If it cannot be read, has no such function, or does not keep the spec.
    """
    inside = _open(artifact, spec, function)
    return _MilSession(Interpreter(inside.program, inside.function, mode=mode), inside, spec)


def run_package(
    artifact: Path, samples: Sequence[Mapping[str, FloatArray]], spec: ComponentSpec, function: str | None = None
) -> list[dict[str, FloatArray]]:
    """Run a package, or the one in a ``.pte``, on every sample, each layer rounded to its declared type.

    Parameters
    ----------
    artifact
        An ``.mlpackage`` or a ``.pte``.
    samples
        Inputs by name.
    spec
        The component's contract, or that of the function.
    function
        Which function; the package's default one if none is named.

    Raises
    ------
    BackendError
        If it cannot be read, has no such function, or does not keep the spec.
    """
    session = open_package(artifact, spec, Mode.DECLARED, function)
    return [session.run(sample) for sample in samples]


def package_divergence(artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray]) -> Divergence | None:
    """Return the first layer of a package whose declared type cannot hold what float32 computes there.

    Parameters
    ----------
    artifact
        An ``.mlpackage`` or a ``.pte``.
    spec
        The component's contract.
    inputs
        Arrays by name, of the contract's shapes.

    Raises
    ------
    BackendError
        If it cannot be read or does not keep the spec.
    """
    program, feeds, states = opened_program(artifact, spec, inputs)
    return first_divergence(program, feeds, states=states)


def opened_program(
    artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray]
) -> tuple[Program, dict[str, Tensor], dict[str, Tensor]]:
    """Return a package's program, what goes into it, and what its states are to hold before.

    Parameters
    ----------
    artifact
        An ``.mlpackage`` or a ``.pte``.
    spec
        The component's contract.
    inputs
        Arrays by name, of the contract's shapes.

    Raises
    ------
    BackendError
        If it cannot be read or does not keep the spec.
    """
    inside = _open(artifact, spec)
    return inside.program, *_feeds(inputs, inside, spec)


def program_values(
    program: Program, feeds: Mapping[str, Tensor], states: Mapping[str, Tensor]
) -> dict[str, FloatArray]:
    """Return what every layer of a program's default function gives, each rounded to its declared type.

    Parameters
    ----------
    program, feeds, states
        As of `opened_program`.

    Returns
    -------
    dict
        Float arrays by the names that layers had before conversion to float16.
    """
    interpreter, made = Interpreter(program, mode=Mode.DECLARED), {}

    def keep(op: Op, outputs: tuple[Tensor, ...]) -> None:
        for port, value in zip(op.outputs, outputs, strict=True):
            if isinstance(value, Tensor) and value.is_floating_point():
                made[plain_name(port.name)] = value.numpy()

    interpreter.run(feeds, interpreter.new_state(states), keep)
    return made


@dataclass(frozen=True)
class _Inside:
    program: Program
    function: str | None
    """Which function of the program; its default one if none is named."""
    inputs: tuple[str, ...]
    """The program's names, in the order of the spec's; a state of that name among them."""
    outputs: tuple[str, ...]
    """Likewise."""

    @property
    def states(self) -> tuple[str, ...]:
        """Names of what the function keeps."""
        return tuple(port.name for port in self.program.function(self.function).states)


def _open(artifact: Path, spec: ComponentSpec, function: str | None = None) -> _Inside:
    if artifact.suffix == _PROGRAM:
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-coreml-") as name:
            package = extract_package(artifact, Path(name))
            inside = _Inside(read_package(package.package), function, package.inputs, package.outputs)
    else:
        names = tuple(t.name for t in spec.inputs), tuple(t.name for t in spec.outputs)
        inside = _Inside(read_package(artifact), function, *names)
    _check(artifact, inside, spec)
    return inside


def _check(artifact: Path, inside: _Inside, spec: ComponentSpec) -> None:
    function = inside.program.function(inside.function)
    has = {port.name: _shape(port) for port in (*function.inputs, *function.states)}
    gives = set(function.outputs)
    wants = dict(zip(inside.inputs, (t.shape for t in spec.inputs), strict=False))
    whole = (len(inside.inputs), len(inside.outputs)) == (len(spec.inputs), len(spec.outputs))
    if not whole or has != wants or gives != set(inside.outputs):
        raise BackendError(
            f"{artifact}: the package maps {has} to {', '.join(sorted(gives))}; the contract of "
            f"`{spec.name}` maps {wants} to {', '.join(inside.outputs)}."
        )


def _feeds(
    inputs: Mapping[str, FloatArray], inside: _Inside, spec: ComponentSpec
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what goes into the function, and what its states are to hold before."""
    arrays = checked_inputs(inputs, spec).values()
    values = {name: torch.from_numpy(array) for name, array in zip(inside.inputs, arrays, strict=True)}
    states = {name: values.pop(name) for name in inside.states}
    return values, states


class _MilSession:
    def __init__(self, interpreter: Interpreter, inside: _Inside, spec: ComponentSpec) -> None:
        self._interpreter = interpreter
        self._inside = inside
        self._spec = spec

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        feeds, states = _feeds(inputs, self._inside, self._spec)
        outputs = self._interpreter.run(feeds, self._interpreter.new_state(states)).outputs
        return named_outputs([outputs[name].numpy() for name in self._inside.outputs], self._spec)


def _shape(port: Port) -> tuple[int, ...]:
    return tuple(n or 0 for n in (port.type.shape if port.type else None) or ())
