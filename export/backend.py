"""The torch backend: the full-precision student from the weights that this installation ships."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pocketcrafter.export.families import student_network
from pocketcrafter.export.shipped import WEIGHTS, not_installed
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.families import POCKET


class TorchBackend:
    """Runs the reference that every target is compared with."""

    def missing(self) -> str | None:
        """Return `None`: where this module can be imported, it can run."""
        return None

    def weights(self, name: str) -> Path:
        """Return where a weights file lies.

        Raises
        ------
        BackendError
            If this installation does not have it.
        """
        path = WEIGHTS / Path(name).name
        if not path.is_file():
            advice = not_installed(path) or "These weights do not come with pocketcrafter; use --backend onnxruntime."
            raise BackendError(f"{name}: {advice}")
        return path

    def open(self, artifact: Path, spec: ComponentSpec, threads: int) -> "TorchSession":
        """Load weights of the pocket family; ``threads`` holds for the whole process, as torch has it."""
        return self.student(POCKET, artifact, spec, threads)

    def student(
        self, family: str, weights: Path, spec: ComponentSpec, threads: int, function: str | None = None
    ) -> "TorchSession":
        """See :class:`pocketcrafter.runtime.backends.registry.WeightsBackend`; a further function is a method."""
        torch.set_num_threads(threads)
        model = student_network(family, spec.name, weights)
        if function is not None and not callable(getattr(model, function, None)):
            raise BackendError(f"{weights}: the network of `{spec.name}` has no function `{function}`.")
        return TorchSession(model, spec.of(function), function)


class TorchSession:
    """One component in eager torch."""

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
