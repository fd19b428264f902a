"""Engines that are measured beside the bundle's own: compiled torch and OpenVINO."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Backend, Session, checked_inputs, named_outputs
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError


class EngineName(StrEnum):
    """Engines beside the backends."""

    TORCH_COMPILE = "torch-compile"
    OPENVINO = "openvino"


@dataclass(frozen=True)
class TorchWeights:
    """Full-precision weights in torch: eager, or compiled by `torch.compile` with its defaults, in the first run.

    Attributes
    ----------
    family
        Which knows the network of the weights.
    compiled
        Whether `torch.compile` is used.
    """

    family: str
    compiled: bool = False

    def missing(self) -> str | None:
        """Return why it cannot run here, or `None`."""
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Load weights; ``threads`` holds for the whole process.

        Parameters
        ----------
        artifact
            The weights' file, or a checkpoint's folder.
        spec
            The component's contract.
        threads
            Threads of the whole process, ≥ 1.

        Raises
        ------
        BackendError
            If the network comes as ONNX, which `torch.compile` does not take.
        """
        from pocketcrafter.export.backend import TorchBackend, TorchSession  # noqa: PLC0415 - only its own process

        session = TorchBackend().student(self.family, artifact, spec, threads)
        if self.compiled:
            from torch._inductor import config  # noqa: PLC0415

            if not isinstance(session, TorchSession):
                raise BackendError(f"{artifact}: the network of `{spec.name}` comes as ONNX, which torch does not run.")
            # One compiler in this process: a pool of them would stand beside what is timed.
            config.compile_threads = 1
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
        outputs = self._request.infer(checked_inputs(inputs, self._spec))
        return named_outputs([outputs[tensor.name].copy() for tensor in self._spec.outputs], self._spec)


def opener(name: BackendName | EngineName, family: str) -> Backend:
    """Return what opens artifacts for an engine, or weights of a family.

    Parameters
    ----------
    name
        The engine.
    family
        Of the bundle.

    Raises
    ------
    BackendError
        If it cannot run here.
    """
    if name in {BackendName.TORCH, EngineName.TORCH_COMPILE}:
        return TorchWeights(family, compiled=name is EngineName.TORCH_COMPILE)
    return usable_backend(name) if isinstance(name, BackendName) else _ENGINES[name]


_ENGINES: Final[Mapping[EngineName, Backend]] = {EngineName.OPENVINO: OpenVino()}
