"""Plants one fault at a time in an artifact, and asks whether its layer is named first."""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper
from pydantic import Field
from torch import Tensor

from pocketcrafter.benchmarks.bisect.faults import NARROWED, SCALED, TURNS, Fault, Planted, differs
from pocketcrafter.benchmarks.bisect.litert import plant_litert
from pocketcrafter.benchmarks.bisect.observers import by_torch_names, observe_onnx, torch_name
from pocketcrafter.benchmarks.bisect.reference import Reference, Values
from pocketcrafter.benchmarks.bisect.xnnpack import plant_xnnpack
from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.common.network_source import student_weights
from pocketcrafter.export.families.registry import student_network
from pocketcrafter.export.lower.coreml.session import program_values
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.export.lower.mil_interpreter import read_package
from pocketcrafter.export.lower.mil_interpreter.divergence import plain_name
from pocketcrafter.export.lower.mil_interpreter.program import Name, Op
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.components import ComponentName, ComponentSpec
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.progress import NamedProgress

LEAST_NAMED: Final = 0.95
"""Share of the faults whose layer must stand first."""
_QUANTIZED: Final = "_QuantizeLinear_Output"
_PRODUCTS: Final = frozenset({"Conv", "QLinearConv", "Gemm", "QGemm", "MatMul"})


_IN_MIL: Final = (("val", Fault.WEIGHT), ("val", Fault.AXIS), ("data", Fault.AXIS), ("scale", Fault.SCALE))
"""Parameters of operators that hold weights, and what can be done to them."""


_SCALES: Final = {"QLinearConv": ((4, Fault.SCALE, SCALED), (6, Fault.RANGE, NARROWED))}
"""Where operators have the scales of weights and of their output, and what these are multiplied by."""


class MutationResult(Config):
    """One fault."""

    component: ComponentName
    target: str
    fault: Fault
    planted: tuple[str, ...] = Field(description="The operators that it belongs to.")
    named: str = Field(description="The operator with the largest own error.")
    first: bool = Field(description="Whether that is one of them, or the next that the artifact shows.")


class MutationReport(Config):
    """Every fault that was planted."""

    bundle: str
    seed: int
    faults: tuple[MutationResult, ...]
    refused: int = Field(
        0,
        description="Faults that a runtime refused to load, and that others were planted in place of.",
    )

    @property
    def share(self) -> float:
        """Share of the faults whose layer stands first."""
        return sum(fault.first for fault in self.faults) / len(self.faults) if self.faults else 0.0


def mutate(
    bundle: Bundle,
    count: int,
    seed: int,
    weights: Path | None = None,
    progress: NamedProgress = lambda *_: None,
) -> MutationReport:
    """Plant faults in a bundle's artifacts, round by round.

    Parameters
    ----------
    bundle
        With a target of `PLANTS` at least.
    count
        Faults in all.
    seed
        Of the choice of layers.
    weights
        Folder of the full-precision weights; what is installed when `None`.
    progress
        Called with what is looked at, faults done and faults in all.

    Raises
    ------
    ConfigError
        If no artifact has a layer to change.
    BackendError
        If the weights are not here.
    """
    chosen = random.Random(seed)  # noqa: S311 - which layers, no secret
    subjects = [
        (entry, target)
        for target, row in bundle.manifest.targets.items()
        if row.kind.family in PLANTS
        for entry in bundle.manifest.components
    ]
    chosen.shuffle(subjects)
    references: dict[str, Reference] = {}
    results: list[MutationResult] = []
    refused = 0
    each = -(-count // max(len(subjects), 1))
    for entry, target in subjects:
        name = f"{entry.spec.name} on {target}"
        if entry.spec.name not in references:
            path = student_weights(bundle, entry, weights)
            network = student_network(bundle.manifest.family, entry.spec.name, path)
            references[entry.spec.name] = Reference(frozen(network, ()), entry.spec)
        reference = references[entry.spec.name]
        inputs = read_tensors(bundle.file(entry.goldens_of(None)[0].inputs), entry.spec.inputs)
        plant = PLANTS[bundle.manifest.targets[target].kind.family]
        planted = list(plant(bundle.artifact(entry, target), entry.spec, reference, inputs))
        enough = len(results) + min(each, count - len(results))
        for one in _spread(planted, chosen):
            if len(results) == enough:
                break
            progress(name, len(results), count)
            try:
                results.append(_result(one, entry.spec, target, reference, inputs))
            except BackendError:
                refused += 1
    progress("faults", count, count)
    if not results:
        raise ConfigError(f"{bundle.path}: no target whose layers can be changed; those of {', '.join(PLANTS)} can.")
    return MutationReport(bundle=bundle.manifest.name, seed=seed, faults=tuple(results), refused=refused)


def _spread(planted: list[Planted], chosen: random.Random) -> list[Planted]:
    """Order faults at random, those of each kind in turn."""
    chosen.shuffle(planted)
    kinds = [[one for one in planted if one.fault is kind] for kind in Fault]
    rounds = max(map(len, kinds), default=0)
    return [kind[number] for number in range(rounds) for kind in kinds if number < len(kind)]


def _result(
    one: Planted, spec: ComponentSpec, target: str, reference: Reference, inputs: Mapping[str, FloatArray]
) -> MutationResult:
    made = one.observe()
    errors = reference.errors(inputs, made)
    shown = {error.node for error in errors}
    named = min(errors, key=lambda error: error.local_db).node
    expected = {seen for node in one.nodes for seen in reference.shown_for(node, shown)}
    return MutationResult(
        component=spec.name, target=target, fault=one.fault, planted=one.nodes, named=named, first=named in expected
    )


def plant_onnx(
    artifact: Path, spec: ComponentSpec, reference: Reference, inputs: Mapping[str, FloatArray]
) -> Iterator[Planted]:
    """Yield every fault that can be planted in a model.

    Parameters
    ----------
    artifact
        An ONNX model.
    spec, reference, inputs
        Its contract, the network that it was made of, and what it is run on.
    """
    names = reference.wanted
    model = onnx.load(artifact)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    made_of = {output: node for node in model.graph.node for output in node.output}

    def observe(name: str, content: np.ndarray) -> Callable[[], Values]:
        def run() -> Values:
            changed = onnx.ModelProto()
            changed.CopyFrom(model)
            tensor = next(t for t in changed.graph.initializer if t.name == name)
            tensor.CopyFrom(numpy_helper.from_array(content, name))
            with tempfile.TemporaryDirectory(prefix="pocketcrafter-bisect-") as folder:
                path = Path(folder) / "changed.onnx"
                onnx.save(changed, path)
                return observe_onnx(path, spec, inputs, reference)

        return run

    for node in model.graph.node:
        if node.op_type not in _PRODUCTS:
            continue
        nodes = tuple(base for output in node.output if (base := output.removesuffix(_QUANTIZED)) in names)
        stored = _stored(node, held, made_of)
        if not nodes or stored is None:
            continue
        weight = numpy_helper.to_array(held[stored])
        axis = 0 if node.op_type in {"Conv", "QLinearConv"} else weight.ndim - 1
        for fault, turn in TURNS.items():
            if differs(weight, changed := turn(weight, axis)):
                yield Planted(fault, nodes, observe(stored, changed))
        for place, fault, factor in _SCALES.get(node.op_type, ()):
            if (scale := _held_behind(node.input[place], held, made_of)) is not None:
                content = numpy_helper.to_array(scale)
                yield Planted(fault, nodes, observe(scale.name, (content * np.float32(factor)).astype(content.dtype)))


def _held_behind(
    name: str, held: Mapping[str, onnx.TensorProto], made_of: Mapping[str, onnx.NodeProto]
) -> onnx.TensorProto | None:
    """Return the initializer that a scale is, or that it is computed from."""
    while name not in held and name in made_of:
        name = made_of[name].input[0]
    return held.get(name)


def _stored(
    node: onnx.NodeProto, held: Mapping[str, onnx.TensorProto], made_of: Mapping[str, onnx.NodeProto]
) -> str | None:
    """Return the initializer that a product's weight comes from, behind casts and dequantization."""
    name = node.input[3] if node.op_type == "QLinearConv" else node.input[1]
    while name not in held and name in made_of and made_of[name].op_type in {"Cast", "DequantizeLinear"}:
        name = made_of[name].input[0]
    return name if name in held and len(held[name].dims) > 1 else None


def plant_mil(
    artifact: Path, spec: ComponentSpec, reference: Reference, inputs: Mapping[str, FloatArray]
) -> Iterator[Planted]:
    """Yield every fault that can be planted in a Core ML package; parameters as of `plant_onnx`."""
    program = read_package(artifact)
    function = program.function()
    known = {op.layer: op for op in function.ops}
    names = reference.wanted
    given = dict(zip((t.name for t in spec.inputs), as_tensors(inputs, spec), strict=True))
    states = {port.name: given.pop(port.name) for port in function.states}

    def observe(changed: Op) -> Callable[[], Values]:
        def run() -> Values:
            ops = tuple(changed if op.layer == changed.layer else op for op in function.ops)
            own = replace(program, functions={**program.functions, function.name: replace(function, ops=ops)})
            return by_torch_names(program_values(own, given, states), names)

        return run

    for op in function.ops:
        node = torch_name(plain_name(op.layer), names)
        bound = op.inputs.get("weight", ())
        if op.kind not in {"conv", "linear"} or node is None or not bound or not isinstance(bound[0], Name):
            continue
        stored = known[bound[0].name]
        for parameter, fault in _IN_MIL:
            value = stored.inputs.get(parameter, (None,))[0]
            if not isinstance(value, Tensor) or not value.ndim or (fault is Fault.AXIS and value.shape[0] < 2):
                continue
            content = value.flip(0) if fault is Fault.AXIS else value * SCALED
            if fault is Fault.WEIGHT:
                content = value.clone()
                content[value.abs().flatten(1).sum(1).argmax()] *= -1
            yield Planted(fault, (node,), observe(replace(stored, inputs={**stored.inputs, parameter: (content,)})))


Plant = Callable[[Path, ComponentSpec, Reference, Mapping[str, FloatArray]], Iterator[Planted]]
"""Yields the faults that can be planted in an artifact."""

PLANTS: Final[Mapping[str, Plant]] = {
    "onnx": plant_onnx,
    "coreml": plant_mil,
    "executorch-xnnpack": plant_xnnpack,
    "litert": plant_litert,
}
"""By family of targets. A package inside an ExecuTorch program is one of `coreml`'s."""


def mutation_lines(report: MutationReport) -> str:
    """Return the counts by target and fault, and every fault that was not named first."""
    groups = sorted({(fault.target, fault.fault) for fault in report.faults})
    rows = []
    for target, kind in groups:
        own = [fault for fault in report.faults if (fault.target, fault.fault) == (target, kind)]
        rows.append((f"`{target}`", kind.value, f"{len(own)}", f"{sum(fault.first for fault in own)}"))
    lines = [markdown(("target", "fault", "planted", "named first"), rows), ""]
    lines += [
        f"not first: {f.component} on {f.target}, {f.fault} of {', '.join(f.planted)}: {f.named} was named"
        for f in report.faults
        if not f.first
    ]
    refused = f"; {report.refused} more were refused by their runtime" if report.refused else ""
    whole = f"{report.share:.0%} of {len(report.faults)} faults are named first (seed {report.seed}){refused}"
    return "\n".join([*lines, whole])
