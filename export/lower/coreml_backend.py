"""Runs Core ML packages, in a ``.pte`` too, on any machine: the backend of Core ML's targets, an interpreter."""

import importlib.util
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from pocketcrafter.export.lower.coreml_convert import INSTALL
from pocketcrafter.export.lower.executorch_coreml_package import extract_package
from pocketcrafter.export.lower.mil_interpreter import Interpreter, Mode, first_divergence, read_package
from pocketcrafter.export.lower.mil_interpreter.program import Port, Program
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import LayerDivergence, Session
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_PROGRAM: Final = ".pte"


class MilBackend:
    """Interprets packages; every layer is rounded to its declared type. Needs the extras `build` and `coreml`."""

    def missing(self) -> str | None:
        """Return the command that installs coremltools, or `None` when it is there."""
        if importlib.util.find_spec("coremltools") is None:
            return f"coremltools is not installed: {INSTALL}"
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open a package; ``threads`` is one setting of the whole process, so the last opened session decides it.

        Raises
        ------
        BackendError
            If coremltools is missing, or the package cannot be read or does not keep the spec.
        """
        if reason := self.missing():
            raise BackendError(f"The mil-interpreter backend cannot run: {reason}")
        torch.set_num_threads(threads)
        inside = _open(artifact, spec)
        return _MilSession(Interpreter(inside.program, mode=Mode.DECLARED), inside, spec)

    def first_divergence(
        self, artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray]
    ) -> tuple[dict[str, FloatArray], LayerDivergence | None]:
        """See :class:`pocketcrafter.runtime.backends.base.LayerwiseBackend`."""
        if reason := self.missing():
            raise BackendError(f"The mil-interpreter backend cannot run: {reason}")
        inside = _open(artifact, spec)
        exact = _MilSession(Interpreter(inside.program, mode=Mode.FP32), inside, spec).run(inputs)
        found = first_divergence(inside.program, _feeds(inputs, inside, spec))
        return exact, None if found is None else LayerDivergence(**vars(found))


@dataclass(frozen=True)
class _Inside:
    program: Program
    inputs: tuple[str, ...]
    """The program's names, in the order of the spec's."""
    outputs: tuple[str, ...]


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
    has = {port.name: _shape(port) for port in function.inputs}
    wants = dict(zip(inside.inputs, (t.shape for t in spec.inputs), strict=False))
    whole = (len(inside.inputs), len(inside.outputs)) == (len(spec.inputs), len(spec.outputs))
    if not whole or has != wants or set(function.outputs) != set(inside.outputs):
        raise BackendError(
            f"{artifact}: the package maps {has} to {', '.join(sorted(function.outputs))}; the contract of "
            f"`{spec.component}` maps {wants} to {', '.join(inside.outputs)}."
        )


def _feeds(inputs: Mapping[str, FloatArray], inside: _Inside, spec: ComponentSpec) -> dict[str, Tensor]:
    arrays = checked_inputs(inputs, spec).values()
    return {name: torch.from_numpy(array) for name, array in zip(inside.inputs, arrays, strict=True)}


class _MilSession:
    def __init__(self, interpreter: Interpreter, inside: _Inside, spec: ComponentSpec) -> None:
        self._interpreter = interpreter
        self._inside = inside
        self._spec = spec

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        outputs = self._interpreter.run(_feeds(inputs, self._inside, self._spec)).outputs
        return named_outputs([outputs[name].numpy() for name in self._inside.outputs], self._spec)


def _shape(port: Port) -> tuple[int, ...]:
    return tuple(n or 0 for n in (port.type.shape if port.type else None) or ())
