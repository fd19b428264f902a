"""ONNX Runtime on the CPU: the backend of `onnx` targets, in every installation."""

from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.ort_sessions import SIGNED_WEIGHTS, open_session, run_options, saturates
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, NotExactHereError
from pocketcrafter.runtime.targets import ORT_SUFFIX

# Weights kept outside the model file may only come from its own folder: ONNX Runtime refuses every other path.
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


class OnnxRuntimeBackend:
    """Runs `.onnx` artifacts."""

    def missing(self) -> str | None:
        """Return `None`: the runtime depends on onnxruntime."""
        return None

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open a model and compare its inputs and outputs with the spec.

        Parameters
        ----------
        artifact
            A model in ONNX or ORT format.
        spec
            What its inputs and outputs must be.
        threads
            Threads within an operator, ≥ 1.

        Raises
        ------
        BackendError
            If the file is not a model that runs here, or does not keep the spec.
        NotExactHereError
            If its integers would come out wrong on this processor.
        """
        model = artifact.read_bytes()
        if artifact.suffix == ORT_SUFFIX and saturates() and any(name.encode() in model for name in SIGNED_WEIGHTS):
            raise NotExactHereError(
                f"{artifact}: in ORT format its 8-bit products would saturate on this processor and come out wrong. "
                "Run the .onnx that it was made of, or it on a phone or with VNNI; `pocketcrafter doctor` tells more."
            )
        options = run_options(threads)
        options.add_session_config_entry(_WEIGHTS_FOLDER, str(artifact.parent.resolve()))
        try:
            session = open_session(model, options)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise BackendError(f"{artifact}: ONNX Runtime cannot open it: {error}") from error
        for kind, has, wants in (
            ("inputs", session.get_inputs(), spec.inputs),
            ("outputs", session.get_outputs(), spec.outputs),
        ):
            found = {t.name: tuple(t.shape) for t in has}
            wanted = {t.name: t.shape for t in wants}
            if found != wanted:
                raise BackendError(f"{artifact}: its {kind} are {found}; the contract of `{spec.name}` is {wanted}.")
        return _OnnxRuntimeSession(session, spec)


class _OnnxRuntimeSession:
    def __init__(self, session: ort.InferenceSession, spec: ComponentSpec) -> None:  # noqa: TID251 - the type
        self._session = session
        self._spec = spec

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        feeds = checked_inputs(inputs, self._spec)
        try:
            values = self._session.run([t.name for t in self._spec.outputs], feeds)
        except Exception as error:  # as above
            raise BackendError(f"ONNX Runtime failed in `{self._spec.name}`: {error}") from error
        return named_outputs(values, self._spec)
