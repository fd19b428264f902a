"""Looks into Core ML packages: the MIL interpreter keeps what every layer gave."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from torch import Tensor

from pocketcrafter.benchmarks.bisect.faults import SCALED, Fault, Planted
from pocketcrafter.benchmarks.bisect.reference import Reference, Seen, Values
from pocketcrafter.export.lower.coreml.session import opened_program, program_values
from pocketcrafter.export.lower.mil_interpreter.divergence import plain_name
from pocketcrafter.export.lower.mil_interpreter.program import Name, Op, Program
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec

_NUMBER: Final = re.compile(r"_\d+$")
_LAYERS: Final = frozenset({"conv2d", "linear"})
_COMPRESSED: Final = re.compile(r"(_to_fp\d+)?(_quantized|_palettized)?$")
"""What coremltools adds to the name that a weight has in the exported graph."""
_WRAPPED: Final = re.compile(r"(?<=^p_)decoder_")
"""A package of several functions holds its network inside another module."""
_IN_MIL: Final = (("val", Fault.WEIGHT), ("val", Fault.AXIS), ("data", Fault.AXIS), ("scale", Fault.SCALE))
"""Parameters of operators that hold weights, and what can be done to them."""


def observe_mil(artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference) -> Values:
    """Interpret a Core ML package, each layer rounded to its declared type.

    Parameters
    ----------
    artifact
        An ``.mlpackage``, or a ``.pte`` that holds one.
    spec, inputs, reference
        As for :data:`pocketcrafter.benchmarks.bisect.runtimes.Observe`.

    Raises
    ------
    BackendError
        If it cannot be read or does not keep the spec.
    """
    program, feeds, states = opened_program(artifact, spec, inputs)
    made = program_values(program, feeds, states)
    return _named(made, torch_names(program, made, reference))


def _named(made: Mapping[str, FloatArray], names: Mapping[str, str]) -> Values:
    return {node: Seen(made[layer]) for layer, node in names.items() if layer in made}


def torch_names(program: Program, made: Mapping[str, FloatArray], reference: Reference) -> dict[str, str]:
    """Return the torch operators that a program's layers stand for, by the layers' names.

    Layers are known by their weights' names. Other operators have torch's names, but the converter counts those of a
    kind anew where it writes more or fewer of them: a kind counts where all of its names are torch's.
    """
    found: dict[str, str] = {}
    layers: dict[str, list[str]] = {}
    for node in reference.operators():
        if (weight := reference.weight_name(node)) is not None:
            layers.setdefault(weight, []).append(node.name)
    for op in program.function().ops:
        stored = _weight_of(op)
        # A module that is called again has several operators, in the same order in both.
        if stored is not None and (waiting := layers.get(_WRAPPED.sub("", _COMPRESSED.sub("", stored)))):
            found[plain_name(op.layer)] = waiting.pop(0)
    kinds: dict[str, set[str]] = {}
    for name in reference.wanted:
        kinds.setdefault(_NUMBER.sub("", name), set()).add(name)
    for kind, names in kinds.items():
        if kind not in _LAYERS and {layer for layer in made if _NUMBER.sub("", layer) == kind} == names:
            found |= {name: name for name in names}
    return found


def _weight_of(op: Op) -> str | None:
    """Return the name of what a layer multiplies by; `None` of other operators."""
    bound = op.inputs.get("weight", ())
    return bound[0].name if op.kind in {"conv", "linear"} and bound and isinstance(bound[0], Name) else None


def plant_mil(
    artifact: Path, spec: ComponentSpec, reference: Reference, inputs: Mapping[str, FloatArray]
) -> Iterator[Planted]:
    """Yield every fault that can be planted in a Core ML package.

    Parameters
    ----------
    artifact
        An ``.mlpackage``, or a ``.pte`` that holds one.
    spec, reference, inputs
        Its contract, the network that it was made of, and what it is run on.

    Raises
    ------
    BackendError
        If it cannot be read or does not keep the spec.
    """
    program, given, states = opened_program(artifact, spec, inputs)
    function = program.function()
    known = {op.layer: op for op in function.ops}
    names = torch_names(program, program_values(program, given, states), reference)

    def observe(changed: Op) -> Callable[[], Values]:
        def run() -> Values:
            ops = tuple(changed if op.layer == changed.layer else op for op in function.ops)
            own = replace(program, functions={**program.functions, function.name: replace(function, ops=ops)})
            return _named(program_values(own, given, states), names)

        return run

    sharing: dict[str, tuple[str, ...]] = {}
    for op in function.ops:
        node, weight = names.get(plain_name(op.layer)), _weight_of(op)
        if node is not None and weight is not None:
            sharing[weight] = (*sharing.get(weight, ()), node)
    for weight, nodes in sharing.items():
        stored = known[weight]
        for parameter, fault in _IN_MIL:
            value = stored.inputs.get(parameter, (None,))[0]
            if not isinstance(value, Tensor) or not value.ndim or (fault is Fault.AXIS and value.shape[0] < 2):
                continue
            content = value.flip(0) if fault is Fault.AXIS else value * SCALED
            if fault is Fault.WEIGHT:
                content = value.clone()
                content[value.abs().flatten(1).sum(1).argmax()] *= -1
            yield Planted(fault, nodes, observe(replace(stored, inputs={**stored.inputs, parameter: (content,)})))
