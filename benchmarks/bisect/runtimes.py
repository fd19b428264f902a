"""The runtimes whose layers can be seen, and the targets in whose artifacts faults can be planted."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.bisect.coreai import observe_coreai, plant_coreai
from pocketcrafter.benchmarks.bisect.faults import Planted
from pocketcrafter.benchmarks.bisect.litert import observe_litert, plant_litert
from pocketcrafter.benchmarks.bisect.mil import observe_mil, plant_mil
from pocketcrafter.benchmarks.bisect.onnx_models import observe_onnx, plant_onnx
from pocketcrafter.benchmarks.bisect.reference import Reference, Values
from pocketcrafter.benchmarks.bisect.xnnpack import observe_xnnpack, plant_xnnpack
from pocketcrafter.export.lower.precisions import runs_as
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.targets import TARGETS

Observe = Callable[[Path, ComponentSpec, Mapping[str, FloatArray], Reference], Values]
"""Takes an artifact, its contract, inputs by name, and the network that it was made of."""
Plant = Callable[[Path, ComponentSpec, Reference, Mapping[str, FloatArray]], Iterator[Planted]]
"""Yields the faults that can be planted in an artifact."""

OBSERVERS: Final[Mapping[BackendName, Observe]] = {
    BackendName.ONNXRUNTIME: observe_onnx,
    BackendName.MIL_INTERPRETER: observe_mil,
    BackendName.EXECUTORCH: observe_xnnpack,
    BackendName.LITERT: observe_litert,
    BackendName.COREAI: observe_coreai,
}
"""What shows the layers of an artifact, by the backend that runs it."""

PLANTS: Final[Mapping[str, Plant]] = {
    "onnx": plant_onnx,
    "coreml": plant_mil,
    "executorch-xnnpack": plant_xnnpack,
    "litert": plant_litert,
    "coreai": plant_coreai,
}
"""By family of targets. A package inside an ExecuTorch program is one of `coreml`'s."""


def observer_of(bundle: Bundle, entry: ComponentEntry, target: str) -> Observe:
    """Return what shows the layers of a component's artifact.

    Raises
    ------
    BackendError
        If its runtime shows none, or cannot run here.
    """
    kind, precision = bundle.manifest.targets[target].kind, entry.artifacts[target].precision
    runner = TARGETS[runs_as(kind, precision)].backend
    if runner not in OBSERVERS:
        able = ", ".join(t for t, row in TARGETS.items() if row.backend in OBSERVERS)
        raise BackendError(
            f"{entry.spec.name} on {target}: {runner} runs it compiled whole, and shows no layers. Targets whose "
            f"layers can be seen are {able}; qnn-context:* is compiled from the QDQ graph of onnx in the same "
            "precision."
        )
    usable_backend(runner)
    return OBSERVERS[runner]
