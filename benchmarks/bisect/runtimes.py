"""The runtimes whose layers can be seen, and the targets in whose artifacts faults can be planted."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.bisect.coreai import observe_coreai, plant_coreai
from pocketcrafter.benchmarks.bisect.faults import Planted
from pocketcrafter.benchmarks.bisect.litert import observe_litert, plant_litert
from pocketcrafter.benchmarks.bisect.mil import observe_mil, plant_mil
from pocketcrafter.benchmarks.bisect.onnx_models import observe_onnx, plant_onnx
from pocketcrafter.benchmarks.bisect.qnn import CompiledGraph
from pocketcrafter.benchmarks.bisect.reference import Reference, Values
from pocketcrafter.benchmarks.bisect.rounding import Rounding, rounding_of
from pocketcrafter.benchmarks.bisect.xnnpack import observe_xnnpack, plant_xnnpack
from pocketcrafter.export.lower.precisions import compiled_precision, runs_as
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.targets import ONNX, TARGETS

Observe = Callable[[Path, ComponentSpec, Mapping[str, FloatArray], Reference], Values]
"""Returns what the layers of an artifact compute, by the names of torch's operators and of the contract's outputs.

Takes the artifact, its contract, one float32 array per input by name and of the contract's shape, and the network that
it was made of. Raises `BackendError` where its runtime cannot show the layers.
"""
Plant = Callable[[Path, ComponentSpec, Reference, Mapping[str, FloatArray]], Iterator[Planted]]
"""Yields the faults that can be planted in an artifact."""

STAGES: Final = Path("build/stages")
"""Where `pocketcrafter build` keeps results where it is not told otherwise."""

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

PLANTABLE: Final = (*PLANTS, "qnn-context")
"""Families of targets in whose artifacts faults can be planted."""


@dataclass(frozen=True)
class Subject:
    """A component's artifact, and how it is looked into.

    Attributes
    ----------
    artifact, spec
        The artifact, and its contract.
    observe
        Shows its layers.
    plant
        Plants faults in it; `None` where that is not written.
    rounding
        What its precision explains of its layers' errors.
    """

    artifact: Path
    spec: ComponentSpec
    observe: Observe
    plant: Plant | None
    rounding: Rounding


def subject_of(bundle: Bundle, entry: ComponentEntry, target: str, stages: Path = STAGES) -> Subject:
    """Return a component's artifact on a target with what shows its layers.

    Parameters
    ----------
    bundle, entry, target
        Whose artifact.
    stages
        Where `pocketcrafter build` keeps results: QNN's binaries show nothing, the graph that they were compiled from
        is compiled again, with its layers as outputs.

    Raises
    ------
    BackendError
        If its runtime shows no layers, or cannot run here; or such a graph is not there.
    """
    row, precision = bundle.manifest.targets[target], entry.artifacts[target].precision
    runs = runs_as(row.kind, precision)
    runner, artifact = TARGETS[runs].backend, bundle.artifact(entry, target)
    if runner is BackendName.QNN_EMULATOR:
        usable_backend(runner)
        graph = CompiledGraph(_graph_of(stages, entry.spec.name, precision, target), TARGETS[runs].socs)
        return Subject(artifact, entry.spec, graph.observe, graph.plant, rounding_of(precision))
    if runner not in OBSERVERS:
        able = ", ".join(t for t, row in TARGETS.items() if row.backend in {*OBSERVERS, BackendName.QNN_EMULATOR})
        raise BackendError(
            f"{entry.spec.name} on {target}: {runner} runs it compiled whole, and shows no layers. Targets whose "
            f"layers can be seen are {able}."
        )
    usable_backend(runner)
    rounding = rounding_of(precision, hides_integers=runner is BackendName.LITERT)
    return Subject(artifact, entry.spec, OBSERVERS[runner], PLANTS.get(runs.family), rounding)


def _graph_of(stages: Path, component: str, precision: Precision, target: str) -> Path:
    """Return the latest graph that a build kept of a component, for QNN to compile."""
    begins, ends = f"lower {component} for {ONNX} in {compiled_precision(precision)}", "to be compiled"
    for record in sorted(stages.glob("*/stage.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        name = str(json.loads(record.read_bytes()).get("name"))
        graph = next(record.parent.rglob(f"{component}{TARGETS[ONNX].suffix}"), None)
        if name.startswith(begins) and name.endswith(ends) and graph is not None:
            return graph
    raise BackendError(
        f"{component} on {target}: QNN's binary shows no layers, and {stages} does not hold the graph that it was "
        f"compiled from in {precision}. Name the folder of the build with --stages, or build it again with "
        f"`pocketcrafter build --target {target}`."
    )
