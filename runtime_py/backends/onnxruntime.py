"""ONNX Runtime on the CPU: the backend of `onnx` targets, in every installation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

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

_Key = tuple[Path, int, int, int]
_SESSIONS: Final[WeakValueDictionary[_Key, ort.InferenceSession]] = WeakValueDictionary()  # noqa: TID251 - the type
"""Open sessions by file, its time and size, and threads."""


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
        session = _open(artifact, threads)
        _SESSIONS[_key(artifact, threads)] = session
        _check_contract(artifact, session, spec)
        return _OnnxRuntimeSession(session, spec)

    def open_function(self, artifact: Path, spec: ComponentSpec, threads: int, function: str) -> Session:
        """Open a further function: the same graph, whose free axes take its shapes; the rest as in :meth:`open`.

        Where the artifact is open already, its session is shared: another would hold the weights a second time.

        Parameters
        ----------
        artifact
            An ONNX model.
        spec
            Contract of the function.
        threads
            Threads of the session.
        function
            Name of the function.
        """
        del function
        session = _SESSIONS.get(_key(artifact, threads))
        if session is None:
            return self.open(artifact, spec, threads)
        _check_contract(artifact, session, spec)
        return _OnnxRuntimeSession(session, spec)


def _key(artifact: Path, threads: int) -> _Key:
    stat = artifact.stat()
    return artifact.resolve(), stat.st_mtime_ns, stat.st_size, threads


def _open(artifact: Path, threads: int) -> ort.InferenceSession:  # noqa: TID251 - the type
    model = artifact.read_bytes()
    if artifact.suffix == ORT_SUFFIX and saturates() and any(name.encode() in model for name in SIGNED_WEIGHTS):
        raise NotExactHereError(
            f"{artifact}: in ORT format its 8-bit products would saturate on this processor and come out wrong. "
            "Run the .onnx that it was made of, or it on a phone or with VNNI; `pocketcrafter doctor` tells more."
        )
    options = run_options(threads)
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(artifact.parent.resolve()))
    try:
        return open_session(model, options)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise BackendError(f"{artifact}: ONNX Runtime cannot open it: {error}") from error


def _check_contract(artifact: Path, session: ort.InferenceSession, spec: ComponentSpec) -> None:  # noqa: TID251 - the type
    """Raise `BackendError` where a model's tensors are not a function's; an axis with a name takes every size."""
    for kind, has, wants in (
        ("inputs", session.get_inputs(), spec.inputs),
        ("outputs", session.get_outputs(), spec.outputs),
    ):
        found = {t.name: tuple(t.shape) for t in has}
        wanted = {t.name: t.shape for t in wants}
        if found.keys() != wanted.keys() or not all(_fits(found[name], wanted[name]) for name in wanted):
            raise BackendError(f"{artifact}: its {kind} are {found}; the contract of `{spec.name}` is {wanted}.")


def _fits(shape: tuple[int | str, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(a == b or isinstance(a, str) for a, b in zip(shape, wanted, strict=True))


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
