"""Runs ``.mlpackage`` artifacts on any machine: the backend of `coreml` targets, in the MIL interpreter."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch

from pocketcrafter.export.lower.coreml_convert import INSTALL
from pocketcrafter.export.lower.mil_interpreter import Interpreter, Mode
from pocketcrafter.export.lower.mil_interpreter.program import Port
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError


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
        interpreter = Interpreter(artifact, mode=Mode.DECLARED)
        has = {port.name: _shape(port) for port in interpreter.function.inputs}
        wants = {t.name: t.shape for t in spec.inputs}
        outputs = set(interpreter.function.outputs)
        if has != wants or outputs != {t.name for t in spec.outputs}:
            raise BackendError(
                f"{artifact}: the package maps {has} to {', '.join(sorted(outputs))}; the contract of "
                f"`{spec.component}` maps {wants} to {', '.join(t.name for t in spec.outputs)}."
            )
        return _MilSession(interpreter, spec)


class _MilSession:
    def __init__(self, interpreter: Interpreter, spec: ComponentSpec) -> None:
        self._interpreter = interpreter
        self._spec = spec

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        feeds = {name: torch.from_numpy(array) for name, array in checked_inputs(inputs, self._spec).items()}
        outputs = self._interpreter.run(feeds).outputs
        return named_outputs([outputs[t.name].numpy() for t in self._spec.outputs], self._spec)


def _shape(port: Port) -> tuple[int, ...]:
    return tuple(n or 0 for n in (port.type.shape if port.type else None) or ())
