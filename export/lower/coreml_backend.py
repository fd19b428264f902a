"""Runs Core ML packages, in a ``.pte`` too, on any machine: the backend of Core ML's targets, an interpreter."""

import importlib.util
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from pocketcrafter.export.lower.coreml_convert import INSTALL
from pocketcrafter.export.lower.executorch_coreml_package import extract_package
from pocketcrafter.export.lower.mil_interpreter import Interpreter, Mode
from pocketcrafter.export.lower.mil_interpreter.program import Port
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
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
        if artifact.suffix == _PROGRAM:
            return self._open_program(artifact, spec)
        interpreter = Interpreter(artifact, mode=Mode.DECLARED)
        names = tuple(t.name for t in spec.inputs), tuple(t.name for t in spec.outputs)
        _check(artifact, interpreter, *names, spec)
        return _MilSession(interpreter, *names, spec)

    def _open_program(self, artifact: Path, spec: ComponentSpec) -> Session:
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-coreml-") as name:
            inside = extract_package(artifact, Path(name))
            interpreter = Interpreter(inside.package, mode=Mode.DECLARED)
            _check(artifact, interpreter, inside.inputs, inside.outputs, spec)
        return _MilSession(interpreter, inside.inputs, inside.outputs, spec)


def _check(
    artifact: Path, interpreter: Interpreter, inputs: tuple[str, ...], outputs: tuple[str, ...], spec: ComponentSpec
) -> None:
    has = {port.name: _shape(port) for port in interpreter.function.inputs}
    wants = dict(zip(inputs, (t.shape for t in spec.inputs), strict=False))
    whole = len(inputs) == len(spec.inputs) and len(outputs) == len(spec.outputs)
    if not whole or has != wants or set(interpreter.function.outputs) != set(outputs):
        raise BackendError(
            f"{artifact}: the package maps {has} to {', '.join(sorted(interpreter.function.outputs))}; the contract of "
            f"`{spec.component}` maps {wants} to {', '.join(outputs)}."
        )


class _MilSession:
    def __init__(
        self, interpreter: Interpreter, inputs: tuple[str, ...], outputs: tuple[str, ...], spec: ComponentSpec
    ) -> None:
        self._interpreter = interpreter
        self._inputs, self._outputs = inputs, outputs
        self._spec = spec

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        arrays = checked_inputs(inputs, self._spec).values()
        feeds = {name: torch.from_numpy(array) for name, array in zip(self._inputs, arrays, strict=True)}
        outputs = self._interpreter.run(feeds).outputs
        return named_outputs([outputs[name].numpy() for name in self._outputs], self._spec)


def _shape(port: Port) -> tuple[int, ...]:
    return tuple(n or 0 for n in (port.type.shape if port.type else None) or ())
