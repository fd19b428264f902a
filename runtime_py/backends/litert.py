"""LiteRT's interpreter on the CPU, with its XNNPACK delegate: the backend of `litert`; needs the extra `litert`."""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session, checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec, TensorSpec
from pocketcrafter.runtime.errors import BackendError

LITERT: Final = "ai_edge_litert.interpreter"
_MEND: Final = "pip install 'pocketcrafter[litert]'"


class LiteRtBackend:
    """Runs `.tflite` artifacts."""

    def missing(self) -> str | None:
        """Return the command that installs LiteRT, or `None` when it is there."""
        if importlib.util.find_spec(LITERT.partition(".")[0]) is None:
            return f"ai-edge-litert is not installed: {_MEND}"
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open a model and compare its inputs and outputs with the spec.

        Parameters
        ----------
        artifact
            A ``.tflite`` file with one signature.
        spec
            What its inputs and outputs must be; they may be integers with a scale there.
        threads
            Threads to compute with, ≥ 1.

        Raises
        ------
        BackendError
            If LiteRT is missing, or the file is not a model that runs here or keeps the spec.
        """
        if reason := self.missing():
            raise BackendError(f"The litert backend cannot run: {reason}")
        try:
            content = artifact.read_bytes()
            runner = open_interpreter(content, threads).get_signature_runner()
        except (OSError, RuntimeError, ValueError) as error:
            raise BackendError(f"{artifact}: LiteRT cannot open it: {error}") from error
        _check_contract(artifact, runner, spec)
        return LiteRtSession(runner, spec)


def open_interpreter(content: bytes, threads: int, *, delegate: bool = True) -> Any:  # noqa: ANN401 - untyped package
    """Open a model.

    Parameters
    ----------
    content
        Of a ``.tflite`` file; the interpreter keeps it.
    threads
        Threads to compute with, ≥ 1.
    delegate
        Whether XNNPACK runs what it can. Without it every operator runs by itself, and keeps its output.

    Raises
    ------
    ValueError, RuntimeError
        LiteRT's own, if this is no model that runs here.
    """
    litert = importlib.import_module(LITERT)
    if delegate:
        return litert.Interpreter(model_content=content, num_threads=threads)
    return litert.Interpreter(
        model_content=content,
        num_threads=threads,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )


class LiteRtSession:
    """A model's one signature. Its inputs and outputs are floats, or integers that are converted here."""

    def __init__(self, runner: Any, spec: ComponentSpec) -> None:  # noqa: ANN401 - untyped package
        self._runner, self._spec = runner, spec
        self._inputs, self._outputs = runner.get_input_details(), runner.get_output_details()

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run once.

        Parameters
        ----------
        inputs
            As for :meth:`pocketcrafter.runtime.backends.base.Session.run`.

        Raises
        ------
        ShapeMismatchError, BackendError
            As there.
        """
        feeds = {
            name: _to_integers(array, self._inputs[name]) for name, array in checked_inputs(inputs, self._spec).items()
        }
        try:
            said = self._runner(**feeds)
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"LiteRT failed in `{self._spec.name}`: {error}") from error
        # Copied by the runner: the interpreter's buffers are not handed out.
        return named_outputs([to_floats(said[t.name], self._outputs[t.name]) for t in self._spec.outputs], self._spec)


def _check_contract(artifact: Path, runner: Any, spec: ComponentSpec) -> None:  # noqa: ANN401 - untyped package
    for kind, has, wants in (
        ("inputs", runner.get_input_details(), spec.inputs),
        ("outputs", runner.get_output_details(), spec.outputs),
    ):
        found = {name: tuple(int(size) for size in tensor["shape"]) for name, tensor in has.items()}
        if found != (wanted := _shapes(wants)):
            raise BackendError(f"{artifact}: its {kind} are {found}; the contract of `{spec.name}` is {wanted}.")


def _shapes(tensors: tuple[TensorSpec, ...]) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in tensors}


def _to_integers(array: FloatArray, tensor: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of the tensor's own type
    if tensor["dtype"] is np.float32:
        return array
    scale, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(array / scale) + zero, limits.min, limits.max).astype(tensor["dtype"])


def to_floats(array: Any, tensor: Mapping[str, Any]) -> FloatArray:  # noqa: ANN401 - of the tensor's own type
    """Return what a tensor's values stand for.

    Parameters
    ----------
    array
        The values, as float32 or integers.
    tensor
        Its details, as LiteRT has them.
    """
    if tensor["dtype"] is np.float32:
        return np.asarray(array)
    scale, zero = tensor["quantization"]
    return np.asarray((array.astype(np.float32) - np.float32(zero)) * np.float32(scale))
