"""Engines that are measured beside the bundle's own: torch, ONNX Runtime, OpenVINO and LiteRT."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Backend, Session
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_SIGNATURE: Final = "serving_default"
"""What the converter calls a model's only function; its inputs are `args_0`, `args_1`, …, its outputs `output_0`, …"""


class LiteRt:
    """LiteRT's interpreter on the CPU, with its XNNPACK delegate."""

    def missing(self) -> str | None:
        """Return the command that installs LiteRT and its converter, or `None` when they are there."""
        try:
            import ai_edge_litert  # noqa: F401, PLC0415 - an extra of its own
            import litert_torch  # noqa: F401, PLC0415
        except ImportError as error:
            return f"LiteRT is not installed ({error.name}): pip install 'pocketcrafter[litert]'"
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open a `.tflite` file.

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
            If LiteRT is missing or cannot read it.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415
        except ImportError as error:
            raise BackendError(self.missing() or str(error)) from error
        try:
            interpreter = Interpreter(model_path=str(artifact), num_threads=threads)
            return LiteRtSession(interpreter.get_signature_runner(_SIGNATURE), spec)
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"{artifact.name}: LiteRT cannot open it: {error}") from error


class LiteRtSession:
    """A model whose inputs and outputs are floats, or integers with a scale, which are a part of what is timed."""

    def __init__(self, runner: Any, spec: ComponentSpec) -> None:  # noqa: ANN401 - untyped package
        self._runner, self._spec = runner, spec
        self._inputs, self._outputs = runner.get_input_details(), runner.get_output_details()

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run once; see `pocketcrafter.runtime.backends.base.Session`."""
        arrays = checked_inputs(inputs, self._spec)
        given = {
            name: _to_integers(array, self._inputs[name])
            for name, array in zip(_numbered("args", len(arrays)), arrays.values(), strict=True)
        }
        outputs = self._runner(**given)
        names = _numbered("output", len(self._spec.outputs))
        return named_outputs([_to_floats(outputs[name], self._outputs[name]) for name in names], self._spec)


def convert_to_litert(model: nn.Module, inputs: Sequence[FloatArray], artifact: Path) -> None:
    """Convert a network to LiteRT in float32; takes a minute or more.

    Parameters
    ----------
    model
        In evaluation mode.
    inputs
        One of each input, in the order of its arguments.
    artifact
        The `.tflite` file to write.

    Raises
    ------
    BackendError
        If the converter is missing or refuses the network.
    """
    if reason := LiteRt().missing():
        raise BackendError(reason)
    import litert_torch  # noqa: PLC0415

    sample = tuple(torch.from_numpy(np.array(array)) for array in inputs)
    try:
        with redirect_stdout(sys.stderr):  # it tells its progress there; standard output is for the result
            litert_torch.convert(model.eval(), sample).export(str(artifact))
    except Exception as error:  # the converter's exceptions share no base class
        raise BackendError(f"LiteRT's converter refuses the network: {error}") from error


def quantize_litert(artifact: Path, samples: Sequence[Sequence[FloatArray]], out: Path) -> None:
    """Quantize weights and activations to INT8 as AI Edge Quantizer does by default, calibrated on samples.

    Parameters
    ----------
    artifact
        A `.tflite` file of `convert`.
    samples
        Inputs of runs, each in the order of the arguments.
    out
        The `.tflite` file to write.

    Raises
    ------
    BackendError
        If the quantizer is missing or refuses the network.
    """
    try:
        from ai_edge_quantizer import quantizer, recipe  # noqa: PLC0415 - an extra of its own
    except ImportError as error:
        raise BackendError(f"LiteRT's quantizer is not installed: {error}") from error
    runs = [dict(zip(_numbered("args", len(sample)), sample, strict=True)) for sample in samples]
    try:
        with redirect_stdout(sys.stderr):
            quantizing = quantizer.Quantizer(str(artifact))
            quantizing.load_quantization_recipe(recipe.static_wi8_ai8())
            ranges = quantizing.calibrate({_SIGNATURE: runs}, num_threads=1)
            quantizing.quantize(ranges).export_model(str(out), overwrite=True)
    except Exception as error:  # the quantizer's exceptions share no base class
        raise BackendError(f"LiteRT's quantizer refuses the network: {error}") from error


def _numbered(stem: str, count: int) -> list[str]:
    return [f"{stem}_{number}" for number in range(count)]


def _to_integers(array: FloatArray, tensor: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of the tensor's own type
    if tensor["dtype"] is np.float32:
        return array
    scale, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(array / scale) + zero, limits.min, limits.max).astype(tensor["dtype"])


def _to_floats(array: Any, tensor: Mapping[str, Any]) -> FloatArray:  # noqa: ANN401 - of the tensor's own type
    if tensor["dtype"] is np.float32:
        return np.asarray(array)
    scale, zero = tensor["quantization"]
    return np.asarray((array.astype(np.float32) - np.float32(zero)) * np.float32(scale))


class EngineName(StrEnum):
    """Engines beside the backends."""

    TORCH_COMPILE = "torch-compile"
    OPENVINO = "openvino"
    LITERT = "litert"


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


_ENGINES: Final[Mapping[EngineName, Backend]] = {EngineName.OPENVINO: OpenVino(), EngineName.LITERT: LiteRt()}
