"""The layers of an artifact by their own error: for people, for Google's Model Explorer, and for Perfetto."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pocketcrafter.benchmarks.bisect.reference import BEST_DB, LayerError, Reference
from pocketcrafter.benchmarks.bisect.results import BisectReport, LayerRow
from pocketcrafter.benchmarks.bisect.runtimes import STAGES, subject_of
from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.common.network_source import student_weights
from pocketcrafter.export.families.registry import student_network
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.progress import NamedProgress

_COUNTERS: Final = ("own error dB", "rounding dB", "drift dB")
_STEPS: Final = 3
_SLOT_US: Final = 100.0
_GRADIENT: Final = ((0.0, "#b2182b"), (0.5, "#f7f7f7"), (1.0, "#2166ac"))


def bisect(
    bundle: Bundle,
    component: str,
    target: str,
    weights: Path | None = None,
    stages: Path = STAGES,
    progress: NamedProgress = lambda *_: None,
) -> BisectReport:
    """Compare each layer of an artifact with the network in full precision, on the first golden.

    Parameters
    ----------
    bundle, component, target
        Whose artifact.
    weights
        Folder of the full-precision weights; what is installed when `None`.
    stages
        Where `pocketcrafter build` keeps results; looked into for QNN's targets.
    progress
        Called with what is done next, steps done and steps in all.

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
    artifact, subject = entry.artifacts[target], subject_of(bundle, entry, target, stages)
    progress(f"{component} in torch", 0, _STEPS)
    model = frozen(student_network(bundle.manifest.family, component, student_weights(bundle, entry, weights)), ())
    reference = Reference(model, entry.spec)
    inputs = read_tensors(bundle.file(entry.goldens_of(None)[0].inputs), entry.spec.inputs)
    progress(f"{component} on {target}", 1, _STEPS)
    made = subject.observe(subject.artifact, entry.spec, inputs, reference)
    progress("layer by layer", 2, _STEPS)
    errors = reference.errors(inputs, made, subject.rounding)
    progress("layer by layer", _STEPS, _STEPS)
    return BisectReport(
        bundle=bundle.manifest.name,
        component=entry.spec.name,
        target=target,
        precision=artifact.precision,
        operators=len(reference.names),
        layers=rows_of(errors),
    )


def rows_of(errors: Sequence[LayerError]) -> tuple[LayerRow, ...]:
    """Return errors as rows of a report."""
    return tuple(LayerRow(**vars(error), fault_db=error.fault_db) for error in errors)


def bisect_lines(report: BisectReport, top: int) -> str:
    """Return what stands out, the worst layers as a Markdown table, and what to do next."""
    head = ("order", "layer", "operator", "own error, dB", "rounding alone, dB", "drift, dB")
    order = {row.node: number for number, row in enumerate(report.layers)}
    rows = [
        (f"{order[row.node]}", row.layer, f"{row.op} ({row.node})", *map(_decibels, _ratios(row)))
        for row in report.ranked[:top]
    ]
    about = f"{report.component} on {report.target}, {report.precision}"
    seen = f"{len(report.layers)} of {report.operators} operators are seen"
    return "\n".join([f"{about}: {seen}. {_verdict(report)}", "", markdown(head, rows), "", _LEGEND])


_LEGEND: Final = (
    "Signal over error, in dB: lower is worse. Own error: against torch on the same inputs. Rounding alone: what the "
    "precision must cost. Drift: against the network in full precision. An operator that the runtime does not show "
    "counts with the next one that it shows."
)


def _ratios(row: LayerRow) -> tuple[float, float, float]:
    return row.local_db, row.rounding_db, row.drift_db


def _decibels(ratio: float) -> str:
    return "equal" if ratio >= BEST_DB else f"{ratio:.1f}"


def _verdict(report: BisectReport) -> str:
    """Return what stands out, and what is to be looked at next."""
    if strange := report.strange:
        first = strange[0]
        few = "it" if len(strange) == 1 else f"{len(strange)} layers"
        return (
            f"`{first.layer}` ({first.op}) is wrong by itself: {first.local_db:.1f} dB where its precision explains "
            f"{_decibels(first.rounding_db)}. {few.capitalize()} stand{'s' if few == 'it' else ''} out; look at its "
            "weights, scales and axes first, or keep it in floats (`keep_fp32` in the recipe)."
        )
    worst = min(report.layers, key=lambda row: row.drift_db, default=None)
    if worst is None:
        return "The runtime shows no operator of the network."
    if worst.drift_db >= BEST_DB:
        return "All of them are torch's own, to the bit."
    return (
        "No layer is wrong by itself: rounding explains their errors. The largest drift is "
        f"{worst.drift_db:.1f} dB at `{worst.layer}`; if it is too much, give the layers before it more bits."
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
        facts = {"node": row.node, **dict(zip(_COUNTERS, _ratios(row), strict=True))}
        events.append(
            {"ph": "X", "pid": 1, "tid": 1, "ts": at, "dur": _SLOT_US, "name": row.layer, "cat": row.op, "args": facts}
        )
        for counter, value in zip(_COUNTERS, _ratios(row), strict=True):
            events.append({"ph": "C", "pid": 1, "ts": at, "name": counter, "args": {"dB": min(value, 150.0)}})
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})
