"""The torch backend: the full-precision student from the weights that this installation ships."""

from collections.abc import Mapping
from pathlib import Path

import torch
from onnx import ModelProto
from torch import Tensor, nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.registry import student_network, student_part
from pocketcrafter.export.shipped import WEIGHTS, not_installed
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session, checked_inputs, named_outputs
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.families import POCKET


class TorchBackend:
    """Runs the reference that every target is compared with."""

    def missing(self) -> str | None:
        """Return `None`: where this module can be imported, it can run."""
        return None

    def weights(self, name: str) -> Path:
        """Return where a weights file, or the folder of a checkpoint, lies.

        Raises
        ------
        BackendError
            If this installation does not have it.
        """
        path = WEIGHTS / Path(name).name
        if not path.exists():
            absent = "pocketcrafter does not ship these weights; they are the bundle's maker's."
            raise BackendError(f"{name}: {not_installed(path) or absent}")
        return path

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> "TorchSession":
        """Load weights of the pocket family.

        Parameters
        ----------
        artifact
            The weights' file.
        spec
            The component's contract.
        threads
            Threads to compute with; torch has one setting for the whole process.
        """
        torch.set_num_threads(threads)
        return TorchSession(student_network(POCKET, spec.name, artifact), spec)

    def student(
        self, family: str, weights: Path, spec: ComponentSpec, threads: int, function: str | None = None
    ) -> Session:
        """Open the weights of a component of any family.

        Parameters
        ----------
        family, weights, spec, threads, function
            As for :meth:`pocketcrafter.runtime.backends.registry.WeightsBackend.student`.

        Raises
        ------
        BackendError
            As there.
        """
        torch.set_num_threads(threads)
        part = student_part(family, spec.name, weights)
        return full_precision_session(Part(part.network, spec), function)


def full_precision_session(part: Part, function: str | None = None) -> Session:
    """Return what runs a component's network as it is: in eager torch, or in ONNX Runtime where it comes as a graph.

    Raises
    ------
    BackendError
        If it has no such function.
    """
    spec = part.spec.of(function)
    if isinstance(part.network, ModelProto):
        return _GraphSession(part.network, spec)
    if function is not None and not callable(getattr(part.network, function, None)):
        raise BackendError(f"The network of `{spec.name}` has no function `{function}`.")
    return TorchSession(part.network, spec, function)


class TorchSession:
    """One component in eager torch.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU.
    spec
        The contract of the function that is run.
    function
        Name of the method that is called; the module itself when `None`.
    """

    def __init__(self, model: nn.Module, spec: ComponentSpec, function: str | None = None) -> None:
        self.model, self.spec = model, spec
        self._call = model if function is None else getattr(model, function)

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run once; see `pocketcrafter.runtime.backends.base.Session`."""
        arrays = checked_inputs(inputs, self.spec)
        with torch.inference_mode():
            said = self._call(*(torch.from_numpy(array) for array in arrays.values()))
        outputs = (said,) if isinstance(said, Tensor) else said
        return named_outputs([o.numpy() for o in outputs], self.spec)


class _GraphSession:
    """One component in ONNX Runtime, in full precision."""

    def __init__(self, graph: ModelProto, spec: ComponentSpec) -> None:
        self._session, self._spec = open_session(graph.SerializeToString()), spec

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        names = [output.name for output in self._spec.outputs]
        return named_outputs(self._session.run(names, checked_inputs(inputs, self._spec)), self._spec)
