"""Sessions of Core ML packages, in a ``.pte`` too, on any machine: the interpreter behind a component's contract."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from pocketcrafter.export.lower.coreml.executorch_package import extract_package
from pocketcrafter.export.lower.mil_interpreter import Interpreter, Mode, first_divergence, read_package
from pocketcrafter.export.lower.mil_interpreter.program import Port, Program
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import LayerDivergence, Session
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_PROGRAM: Final = ".pte"


def open_package(artifact: Path, spec: ComponentSpec, mode: Mode) -> Session:
    """Open a package, or the one in a ``.pte``, that keeps a component's contract.

    A function that keeps tensors between calls keeps it too: what the contract hands in as ``x`` is put into its state
    ``x`` before each run.

    Raises
    ------
    BackendError
        If it cannot be read or does not keep the spec.
    """
    inside = _open(artifact, spec)
    return _MilSession(Interpreter(inside.program, mode=mode), inside, spec)


def divergence(
    artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray]
) -> tuple[dict[str, FloatArray], LayerDivergence | None]:
    """See :class:`pocketcrafter.runtime.backends.base.LayerwiseBackend`."""
    inside = _open(artifact, spec)
    exact = _MilSession(Interpreter(inside.program, mode=Mode.FP32), inside, spec).run(inputs)
    feeds, states = _feeds(inputs, inside, spec)
    found = first_divergence(inside.program, feeds, states=states)
    return exact, None if found is None else LayerDivergence(**vars(found))


@dataclass(frozen=True)
class _Inside:
    program: Program
    inputs: tuple[str, ...]
    """The program's names, in the order of the spec's; a state of that name among them."""
    outputs: tuple[str, ...]
    """Likewise."""

    @property
    def states(self) -> tuple[str, ...]:
        """Names of what the default function keeps."""
        return tuple(port.name for port in self.program.function().states)


def _open(artifact: Path, spec: ComponentSpec) -> _Inside:
    if artifact.suffix == _PROGRAM:
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-coreml-") as name:
            package = extract_package(artifact, Path(name))
            inside = _Inside(read_package(package.package), package.inputs, package.outputs)
    else:
        names = tuple(t.name for t in spec.inputs), tuple(t.name for t in spec.outputs)
        inside = _Inside(read_package(artifact), *names)
    _check(artifact, inside, spec)
    return inside


def _check(artifact: Path, inside: _Inside, spec: ComponentSpec) -> None:
    function = inside.program.function()
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
    """Return what goes into the default function, and what its states are to hold before."""
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
