"""ExecuTorch with XNNPACK on the CPU: the backend of `executorch-xnnpack` targets, imported only when it is used."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
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

        Raises
        ------
        BackendError
            If ExecuTorch is missing, or the file is not a program that runs here or keeps the spec.
        """
        if reason := self.missing():
            raise BackendError(f"The executorch backend cannot run: {reason}")
        # By name, because the runtime's static imports must stay free of torch.
        runtime = importlib.import_module("executorch.runtime")
        bindings = importlib.import_module("executorch.extension.pybindings.portable_lib")
        bindings._unsafe_reset_threadpool(threads)
        try:
            program = runtime.Runtime.get().load_program(
                artifact.read_bytes(), verification=runtime.Verification.Minimal
            )
            method = program.load_method("forward")
        except Exception as error:  # ExecuTorch raises plain RuntimeError and ValueError
            raise BackendError(f"{artifact}: ExecuTorch cannot open it: {error}") from error
        if method is None:
            raise BackendError(f"{artifact}: the program has no method `forward`.")
        _check_shapes(artifact, method.metadata, spec)
        return _ExecutorchSession(program, method, spec)


class _ExecutorchSession:
    def __init__(self, program: object, method: Any, spec: ComponentSpec) -> None:  # noqa: ANN401 - untyped package
        self._program = program  # owns the memory that the method runs in
        self._method = method
        self._spec = spec
        self._torch = importlib.import_module("torch")

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        feeds = checked_inputs(inputs, self._spec)
        # A read-only array makes torch warn, and an output may alias the program's memory: copy both ways.
        tensors = [self._torch.tensor(array) for array in feeds.values()]
        try:
            outputs: Sequence[Any] = self._method.execute(tensors)
        except Exception as error:  # as above
            raise BackendError(f"ExecuTorch failed in `{self._spec.component}`: {error}") from error
        return named_outputs([o.numpy().copy() for o in outputs], self._spec)


def _check_shapes(artifact: Path, metadata: Any, spec: ComponentSpec) -> None:  # noqa: ANN401 - untyped package
    inputs = [tuple(metadata.input_tensor_meta(i).sizes()) for i in range(metadata.num_inputs())]
    outputs = [tuple(metadata.output_tensor_meta(i).sizes()) for i in range(metadata.num_outputs())]
    wanted_inputs, wanted_outputs = [t.shape for t in spec.inputs], [t.shape for t in spec.outputs]
    if (inputs, outputs) != (wanted_inputs, wanted_outputs):
        raise BackendError(
            f"{artifact}: the program maps {inputs} to {outputs}; the contract of `{spec.component}` maps "
            f"{wanted_inputs} to {wanted_outputs}."
        )
