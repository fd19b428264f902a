"""Looks into Core ML packages: the MIL interpreter keeps what every layer gave."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Final

from torch import Tensor

from pocketcrafter.benchmarks.bisect.faults import SCALED, Fault, Planted
from pocketcrafter.benchmarks.bisect.reference import Reference, Seen, Values
from pocketcrafter.export.lower.coreml.session import layer_values, program_values
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.export.lower.mil_interpreter import read_package
from pocketcrafter.export.lower.mil_interpreter.divergence import plain_name
from pocketcrafter.export.lower.mil_interpreter.program import Name, Op
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec

_IN_MIL: Final = (("val", Fault.WEIGHT), ("val", Fault.AXIS), ("data", Fault.AXIS), ("scale", Fault.SCALE))
"""Parameters of operators that hold weights, and what can be done to them."""


def observe_mil(artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference) -> Values:
    """Interpret a Core ML package, each layer rounded to its declared type.

    Raises
    ------
    BackendError
        If it cannot be read or does not keep the spec.
    """
    return by_torch_names(layer_values(artifact, spec, inputs), reference.wanted)


def by_torch_names(made: Mapping[str, FloatArray], names: Set[str]) -> Values:
    """Return the values of a MIL program's layers that have names of torch operators, under these names."""
    return {found: Seen(value) for layer, value in made.items() if (found := torch_name(layer, names)) is not None}


def torch_name(layer: str, names: Set[str]) -> str | None:
    """Return the torch operator that a MIL layer stands for; `None` where it has another's name.

    coremltools calls the first linear layer ``linear_0`` where torch has ``linear``.
    """
    return next((name for name in (layer, layer.removesuffix("_0")) if name in names), None)


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
