"""What a person would run instead of a bundle: the same weights in full precision, by other engines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.lower.onnx import OnnxLowering
from pocketcrafter.export.models import load_component
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import BackendError


class CompetitorName(StrEnum):
    """The competitors that a person can choose."""

    TORCH_EAGER = "torch-eager-fp32"
    ONNXRUNTIME = "onnxruntime-fp32"


REFERENCE: Final = CompetitorName.TORCH_EAGER
"""The competitor that results of different machines are compared through."""


@dataclass(frozen=True)
class Contender:
    """A competitor made ready: the backend that runs it and the file that it opens."""

    backend: BackendName
    artifact: Path


Prepare = Callable[[Bundle, ComponentEntry, Path], Contender]
"""Makes a competitor ready from a bundle's weights; may write into the folder given."""


def weights_of(bundle: Bundle, entry: ComponentEntry) -> Path:
    """Return the weights that a component was lowered from, as this installation has them.

    Raises
    ------
    BackendError
        If it does not have them, or has others.
    """
    weights = TorchBackend().weights(entry.source.weights)
    if sha256_of(weights) != entry.source.sha256:
        raise BackendError(
            f"{weights.name}: the installed weights are not those that `{entry.spec.component}` in {bundle.path} was "
            "built from; a ratio between different weights says nothing. Build the bundle again: pocketcrafter build"
        )
    return weights


def _torch_eager(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Contender:
    del folder
    return Contender(BackendName.TORCH, weights_of(bundle, entry))


def _onnxruntime(bundle: Bundle, entry: ComponentEntry, folder: Path) -> Contender:
    model = load_component(entry.spec.component, weights_of(bundle, entry))
    golden = read_tensors(bundle.root / entry.goldens[0].inputs, entry.spec.inputs)
    # Full precision is not calibrated: the golden stands in for both of the samples that lowering asks for.
    lowered = OnnxLowering().lower(
        model, entry.spec, [golden, golden], Precision.FP32, folder / f"{entry.spec.component}.onnx"
    )
    return Contender(BackendName.ONNXRUNTIME, lowered.path)


COMPETITORS: Final[Mapping[CompetitorName, Prepare]] = {
    CompetitorName.TORCH_EAGER: _torch_eager,
    CompetitorName.ONNXRUNTIME: _onnxruntime,
}
