"""The layers of an artifact by their own error: for people, for Google's Model Explorer, and for Perfetto."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from pocketcrafter.benchmarks.bisect.reference import LayerError, Reference, ranked
from pocketcrafter.benchmarks.bisect.rounding import rounding_of
from pocketcrafter.benchmarks.bisect.runtimes import observer_of
from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.common.network_source import student_weights
from pocketcrafter.export.families.registry import student_network
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config

_STRANGE_DB: Final = 20.0
"""A layer whose own error is larger stands out in any precision."""
_SLOT_US: Final = 100.0
_GRADIENT: Final = ((0.0, "#b2182b"), (0.5, "#f7f7f7"), (1.0, "#2166ac"))


class LayerRow(Config):
    """One layer that the artifact shows."""

    node: str = Field(description="The torch operator in the exported graph.")
    layer: str = Field(description="The torch module that it belongs to, or `forward: <node>`.")
    op: str
    local_db: float = Field(description="Output against torch's on the artifact's own inputs: this layer's own error.")
    rounding_db: float = Field(description="What rounding to the precision's levels alone does to that output.")
    fault_db: float = Field(description="Own error without what twice that rounding explains; layers are ranked by it.")
    drift_db: float = Field(description="Output against the full-precision network's own: what came together.")


class BisectReport(Config):
    """The layers of one component on one target, in running order; 1000 dB stands for equality, -1000 for nothing."""

    bundle: str
    component: ComponentName
    target: str
    precision: Precision
    operators: int = Field(description="Operators of the network; those that the artifact does not show are skipped.")
    layers: tuple[LayerRow, ...]

    @property
    def ranked(self) -> list[LayerRow]:
        """The layers by what their precision does not explain, the worst first."""
        return ranked(self.layers)


def bisect(bundle: Bundle, component: str, target: str, weights: Path | None = None) -> BisectReport:
    """Compare each layer of an artifact with the network in full precision, on the first golden.

    Parameters
    ----------
    bundle, component, target
        Whose artifact.
    weights
        Folder of the full-precision weights; what is installed when `None`.

    Raises
    ------
    BundleError
        If the bundle has no such component.
    ConfigError
        If it has no such target.
    BackendError
        If the target's runtime shows no layers or cannot run here, or the weights are not here.
    """
    bundle.chosen_targets([target])
    entry = bundle.manifest.entry(component)
    artifact, observe = entry.artifacts[target], observer_of(bundle, entry, target)
    model = frozen(student_network(bundle.manifest.family, component, student_weights(bundle, entry, weights)), ())
    reference = Reference(model, entry.spec)
    inputs = read_tensors(bundle.file(entry.goldens_of(None)[0].inputs), entry.spec.inputs)
    made = observe(bundle.artifact(entry, target), entry.spec, inputs, reference)
    return BisectReport(
        bundle=bundle.manifest.name,
        component=entry.spec.name,
        target=target,
        precision=artifact.precision,
        operators=len(reference.names),
        layers=rows_of(reference.errors(inputs, made, rounding_of(artifact.precision))),
    )


def rows_of(errors: Sequence[LayerError]) -> tuple[LayerRow, ...]:
    """Return errors as rows of a report."""
    return tuple(LayerRow(**vars(error), fault_db=error.fault_db) for error in errors)


def bisect_lines(report: BisectReport, top: int) -> str:
    """Return the worst layers as a Markdown table, and what stands out."""
    head = ("order", "layer", "operator", "own error, dB", "drift, dB")
    order = {row.node: number for number, row in enumerate(report.layers)}
    rows = [
        (f"{order[row.node]}", row.layer, f"{row.op} ({row.node})", f"{row.local_db:.1f}", f"{row.drift_db:.1f}")
        for row in report.ranked[:top]
    ]
    strange = [row for row in report.ranked if row.local_db < _STRANGE_DB]
    said = f"{len(strange)} of them are below {_STRANGE_DB:.0f} dB by themselves" if strange else "none stands out"
    about = f"{report.component} on {report.target}, {report.precision}"
    return "\n".join(
        [
            f"{about}: {len(report.layers)} of {report.operators} operators are seen; {said}.",
            "",
            markdown(head, rows),
        ]
    )


def as_node_data(report: BisectReport) -> str:
    """Return node data for Google's Model Explorer: each operator's own error, on the graph of `torch.export`."""
    results = {row.node: {"value": round(row.local_db, 2)} for row in report.layers}
    gradient = [{"stop": stop, "bgColor": color} for stop, color in _GRADIENT]
    return json.dumps({"main": {"results": results, "gradient": gradient}}, indent=1)


def as_trace(report: BisectReport) -> str:
    """Return a trace in the Trace Event Format: the layers in running order, and both ratios as counters.

    Layers are as long as each other: a trace needs times, and these are errors.
    """
    name = f"{report.component} on {report.target}, {report.precision}: errors, not times"
    events: list[dict[str, Any]] = [{"ph": "M", "pid": 1, "name": "process_name", "args": {"name": name}}]
    for number, row in enumerate(report.layers):
        at = number * _SLOT_US
        facts = {"node": row.node, "own error dB": row.local_db, "drift dB": row.drift_db}
        events.append(
            {"ph": "X", "pid": 1, "tid": 1, "ts": at, "dur": _SLOT_US, "name": row.layer, "cat": row.op, "args": facts}
        )
        for counter, value in (("own error dB", row.local_db), ("drift dB", row.drift_db)):
            events.append({"ph": "C", "pid": 1, "ts": at, "name": counter, "args": {"dB": min(value, 150.0)}})
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})
