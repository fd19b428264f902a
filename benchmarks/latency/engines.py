"""Engines that only competitors run on: what opens an artifact that no target of a bundle has."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pocketcrafter.benchmarks.latency.litert import LiteRt
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Backend, Session
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError


class EngineName(StrEnum):
    """Engines beside the backends."""

    TORCH_COMPILE = "torch-compile"
    OPENVINO = "openvino"
    LITERT = "litert"


class CompiledTorch:
    """Weights in torch, compiled by `torch.compile` with its defaults; the first run compiles."""

    def missing(self) -> str | None:
        """Return why it cannot run here, or `None`."""
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Load weights; ``threads`` holds for the whole process.

        Parameters
        ----------
        artifact
            Weights, ``.safetensors``.
        spec
            The component's contract.
        threads
            Threads of the whole process, ≥ 1.
        """
        from torch._inductor import config  # noqa: PLC0415 - only its own process imports an engine

        from pocketcrafter.export.backend import TorchBackend  # noqa: PLC0415

        # One compiler in this process: a pool of them would stand beside what is timed.
        config.compile_threads = 1
        session = TorchBackend().open(artifact, spec, threads)
        session.model.compile()
        return session


class OpenVino:
    """An OpenVINO model on the CPU, in one stream."""

    def missing(self) -> str | None:
        """Return the command that installs OpenVINO, or `None` when it is there."""
        try:
            import openvino  # noqa: F401, PLC0415 - only its own process imports an engine
        except ImportError:
            return "openvino is not installed: pip install 'pocketcrafter[bench]'"
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Compile a model (`.xml` or `.onnx`).

        Parameters
        ----------
        artifact
            The model's file.
        spec
            The component's contract.
        threads
            Threads to compute with, ≥ 1.

        Raises
        ------
        BackendError
            If OpenVINO is missing or cannot read it.
        """
        if reason := self.missing():
            raise BackendError(reason)
        import openvino  # noqa: PLC0415

        settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        try:
            return _OpenVinoSession(openvino.Core().compile_model(artifact, "CPU", settings), spec)
        except RuntimeError as error:
            raise BackendError(f"{artifact.name}: OpenVINO cannot open it: {error}") from error


class _OpenVinoSession:
    def __init__(self, compiled: Any, spec: ComponentSpec) -> None:  # noqa: ANN401 - untyped package
        self._request, self._spec = compiled.create_infer_request(), spec

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        said = self._request.infer(checked_inputs(inputs, self._spec))
        return named_outputs([said[tensor.name].copy() for tensor in self._spec.outputs], self._spec)


def opener(name: BackendName | EngineName) -> Backend:
    """Return what opens artifacts for an engine.

    Raises
    ------
    BackendError
        If it cannot run here.
    """
    return usable_backend(name) if isinstance(name, BackendName) else _ENGINES[name]


_ENGINES: Final[Mapping[EngineName, Backend]] = {
    EngineName.TORCH_COMPILE: CompiledTorch(),
    EngineName.OPENVINO: OpenVino(),
    EngineName.LITERT: LiteRt(),
}
