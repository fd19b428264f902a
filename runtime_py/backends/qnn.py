"""QNN context models on the HTP emulator, the x86 twin of a Snapdragon's Hexagon processor; not a device.

Compiler, emulator and ONNX Runtime's QNN provider all come from the wheel `onnxruntime-qnn`, the extra `qnn`. Its
libraries keep state in the process that one system-on-chip leaves for the next, and some of their failures end it: all
native work is done in processes of its own.
"""

import importlib.util
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session, checked_inputs, named_outputs
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.backends.processes import JOB, StandingProcess, call_process
from pocketcrafter.runtime.backends.qnn_child import INTERFACE, Interface, QnnJob, inputs_file, outputs_file
from pocketcrafter.runtime.components import ComponentSpec, TensorSpec
from pocketcrafter.runtime.errors import BackendError, NotRunHereError

WHEEL: Final = "onnxruntime-qnn"
WHEEL_VERSION: Final = "2.5.0"
"""The one version whose libraries ONNX Runtime's route and ExecuTorch 1.5.1 both take."""
MEND: Final = "pip install 'pocketcrafter[qnn]'"
_LIBRARIES: Final = ("libonnxruntime_providers_qnn.so", "libQnnHtp.so", "libHtpPrepare.so", "libQnnSystem.so")
_CONTEXT: Final = b"EPContext"
"""The operator that holds a binary."""
_NOT_SUPPORTED: Final = "QNN_COMMON_ERROR_NOT_SUPPORTED"
"""What the emulator says of a binary whose graphs share their weights."""
ROOM: Final = "pocketcrafter-qnn-"
"""What the folders of its processes are called at first."""
NO_SOCS: Final[Mapping[int, int]] = {}
_CHILD: Final = "pocketcrafter.runtime.backends.qnn_child"


def why_no_qnn() -> str | None:
    """Return why QNN's compiler and emulator cannot run here and the command that mends it, or `None` when they can.

    Looks at files and metadata only: loading a wrong library may end the process.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return f"QNN's compiler and HTP emulator exist for Linux on x86-64 only, not for {sys.platform}"
    try:
        found = version(WHEEL)
    except PackageNotFoundError:
        return f"{WHEEL} is not installed: {MEND}"
    if found != WHEEL_VERSION:
        return f"{WHEEL} {found} is installed, and only {WHEEL_VERSION} is known to work: {MEND}"
    spec = importlib.util.find_spec("onnxruntime_qnn")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    if absent := [name for name in _LIBRARIES if not any((folder / name).is_file() for folder in folders)]:
        return f"{WHEEL} lacks {', '.join(absent)}: {MEND} --force-reinstall"
    return None


def run_qnn(
    model: Path,
    samples: Sequence[Mapping[str, FloatArray]] = (),
    *,
    socs: Mapping[int, int] = NO_SOCS,
    context: Path | None = None,
    profile: Path | None = None,
) -> tuple[Interface, list[dict[str, FloatArray]]]:
    """Open a model with the QNN provider alone, in a process of its own, and run it on the emulator.

    Parameters
    ----------
    model
        A QDQ model, or a context model.
    samples
        What to run it on; may be none, for opening tells already whether all of it runs on the HTP.
    socs
        QNN's numbers of the systems-on-chip to compile for, each with the version of its HTP; a context model knows its
        own. The emulator runs no model that is compiled for several.
    context
        Where the compiled context model goes; nothing is written when not given. It is written even where this raises
        because an operator is left to the CPU, and then names that operator.
    profile
        Where QNN's own profile of compiling and of every run goes, as CSV; none is kept when not given.

    Returns
    -------
    tuple
        The inputs and outputs by name with their shapes, and for each sample the outputs by name, float32.

    Raises
    ------
    BackendError
        If the wheel is missing or of another version, an operator would run on the CPU, or QNN fails.
    """
    if reason := why_no_qnn():
        raise BackendError(f"QNN cannot run: {reason}")
    with tempfile.TemporaryDirectory(prefix=ROOM) as name:
        folder = Path(name)
        for index, sample in enumerate(samples):
            np.savez(inputs_file(folder, index), allow_pickle=False, **sample)
        job = QnnJob(
            model=model.resolve(),
            socs=socs,
            context=context.resolve() if context else None,
            profile=profile.resolve() if profile else None,
            samples=len(samples),
        )
        (folder / JOB).write_text(job.model_dump_json(), encoding="utf-8")
        call_process(_CHILD, folder, model, "QNN")
        interface = Interface.model_validate_json((folder / INTERFACE).read_bytes())
        return interface, [_read(outputs_file(folder, index)) for index in range(len(samples))]


def _read(path: Path) -> dict[str, FloatArray]:
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


class QnnEmulatorBackend:
    """Runs the artifacts of `qnn-context` targets on the HTP emulator; needs the extra `qnn`."""

    def missing(self) -> str | None:
        """Return why the emulator cannot run here and the command that mends it, or `None` when it can."""
        return why_no_qnn()

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        """Open a context model and compare its inputs and outputs with the spec; the emulator has one thread.

        A model without contexts was left to the CPU in float32, and ONNX Runtime runs it there.

        Parameters
        ----------
        artifact
            An ONNX model whose nodes hold QNN contexts.
        spec
            What its inputs and outputs must be.
        threads
            Used only where ONNX Runtime runs the model.

        Raises
        ------
        NotRunHereError
            If its binary holds graphs that share their weights: the emulator runs those in the process alone that
            compiled them.
        BackendError
            If the wheel is missing, or the file is not a context model that keeps the spec.
        """
        if not _is_context(artifact):
            return OnnxRuntimeBackend().open(artifact, spec, threads)
        try:
            session = _EmulatorSession(artifact, spec)
        except BackendError as error:
            if _NOT_SUPPORTED not in str(error):
                raise
            raise NotRunHereError(
                f"{artifact}: QNN's emulator does not open binaries whose graphs share their weights; re-run the "
                "goldens on a phone, or build with `shared_binary: false` for the component."
            ) from error
        for kind, found, wants in (
            ("inputs", session.interface.inputs, spec.inputs),
            ("outputs", session.interface.outputs, spec.outputs),
        ):
            if found != (wanted := _shapes(wants)):
                raise BackendError(f"{artifact}: its {kind} are {found}; the contract of `{spec.name}` is {wanted}.")
        return session


class _EmulatorSession:
    """Keeps a process in which the model is open: opening it takes longer than most runs."""

    def __init__(self, artifact: Path, spec: ComponentSpec) -> None:
        self._spec = spec
        self._room = tempfile.TemporaryDirectory(prefix=ROOM)
        self._folder = Path(self._room.name)
        job = QnnJob(model=artifact.resolve(), socs={}, context=None, samples=None)
        (self._folder / JOB).write_text(job.model_dump_json(), encoding="utf-8")
        self._process = StandingProcess(_CHILD, self._folder, artifact, "QNN")
        self.interface = Interface.model_validate_json((self._folder / INTERFACE).read_bytes())

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        np.savez(inputs_file(self._folder, 0), allow_pickle=False, **checked_inputs(inputs, self._spec))
        self._process.ask(0)
        outputs = _read(outputs_file(self._folder, 0))
        return named_outputs([outputs[t.name] for t in self._spec.outputs], self._spec)


def _is_context(artifact: Path) -> bool:
    try:
        return _CONTEXT in artifact.read_bytes()
    except OSError as error:
        raise BackendError(f"{artifact}: cannot be read: {error}") from error


def _shapes(tensors: Sequence[TensorSpec]) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in tensors}
