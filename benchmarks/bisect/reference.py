"""The network in full precision, operator by operator, beside what an artifact computed."""

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Node

from pocketcrafter.benchmarks.bisect.rounding import EXACT, Rounding
from pocketcrafter.benchmarks.profile.layers import module_of
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.fidelity import sqnr_db


@dataclass(frozen=True)
class Seen:
    """One value that an artifact shows.

    Attributes
    ----------
    value
        Integers come dequantized.
    step
        Distance of the levels that they stand for; 0 of floats.
    """

    value: FloatArray
    step: float = 0.0


Values = Mapping[str, Seen]
"""What an artifact computed, by the name of the torch operator that it stands for."""

WORST_DB: Final = -1e3
"""Stands for a value that is not finite, or for nothing alike."""
BEST_DB: Final = 1e3
"""Stands for equality."""
_MATRIX: Final = 2
"""Weights of as many axes are quantized; vectors are not."""
_CLIPPED: Final = 1e-3
"""Share of the values that ranges calibrated by percentiles clip; more are a fault."""
_ARITHMETIC: Final = frozenset({"add", "sub", "rsub", "mul", "div"})
_EXPECTED: Final = 2.0
"""So many times the power of the rounding itself is no fault: errors of one layer are not all alike."""


@dataclass(frozen=True)
class LayerError:
    """One operator that an artifact shows.

    Attributes
    ----------
    node
        The torch operator's name in the exported graph.
    layer
        The torch module that it belongs to, or ``forward: <node>``.
    op
        Operator, as in ``conv2d``.
    local_db
        The artifact's output against torch's on the artifact's own inputs: what this layer adds.
    rounding_db
        What rounding to the precision's levels alone would add to it.
    drift_db
        The artifact's output against the full-precision network's: what has come together up to here.
    """

    node: str
    layer: str
    op: str
    local_db: float
    rounding_db: float
    drift_db: float

    @property
    def fault_db(self) -> float:
        """The layer's own error without what rounding explains; `BEST_DB` where nothing is left."""
        left = 10 ** (-self.local_db / 10) - _EXPECTED * 10 ** (-self.rounding_db / 10)
        return min(-10 * math.log10(left), BEST_DB) if left > 0 else BEST_DB


class Reference:
    """A network as a list of torch operators.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU, nothing trainable.
    spec
        Its inputs.
    """

    def __init__(self, model: nn.Module, spec: ComponentSpec) -> None:
        inputs = tuple(torch.full(t.shape, 0.5) for t in spec.inputs)
        with torch.no_grad():
            program = torch.export.export(model, inputs, strict=False).run_decompositions({})
        self._spec, self._graph = spec, program.graph
        signature = program.graph_signature
        held: dict[str, Any] = {**program.state_dict, **program.constants}
        named = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self._constants = {name: held[target] for name, target in named.items()}
        self._inputs = list(signature.user_inputs)
        self._outputs = dict(zip(signature.user_outputs, (t.name for t in spec.outputs), strict=True))
        self._last = {read: node for node in self._graph.nodes for read in node.all_input_nodes}

    @property
    def names(self) -> list[str]:
        """Names of its operators, in running order."""
        return [node.name for node in self.operators()]

    @property
    def wanted(self) -> frozenset[str]:
        """What artifacts may call values that are compared: operators' names, and those of the contract's outputs."""
        return frozenset({*self.names, *self._outputs.values()})

    def shown_for(self, node: str, shown: Set[str]) -> set[str]:
        """Return where an operator's error is seen: at itself, or at the next operators that an artifact shows.

        Parameters
        ----------
        node
            The operator, or the output of the contract that it computes.
        shown
            Names of those that the artifact shows.
        """
        by_name = {found.name: found for found in self.operators()}
        by_name |= {output: by_name[name] for name, output in self._outputs.items() if name in by_name}
        waiting, reached = [by_name[node]], set()
        while waiting:
            here = waiting.pop()
            if here.name in shown:
                reached.add(here.name)
            else:
                waiting += [user for user in here.users if user.op == "call_function"]
        return reached

    def operators(self) -> Iterator[Node]:
        """Yield its operators in running order."""
        return (node for node in self._graph.nodes if node.op == "call_function")

    def weight(self, node: Node) -> FloatArray | None:
        """Return the stored weight that a layer multiplies by; `None` where it multiplies by something computed."""
        name = self.weight_name(node)
        return None if name is None else self._constants[name].detach().numpy()

    def weight_name(self, node: Node) -> str | None:
        """Return what the exported graph calls that weight."""
        read = node.args[1] if len(node.args) > 1 else None
        return read.name if isinstance(read, Node) and read.name in self._constants else None

    def is_constant(self, node: Node) -> bool:
        """Whether a node is a weight or another stored tensor."""
        return node.name in self._constants

    def alike(self, one: Values, other: Values, least_db: float) -> bool:
        """Whether all of the network's outputs that two artifacts show are within a ratio of each other's.

        Parameters
        ----------
        one, other
            What two artifacts computed on the same inputs.
        least_db
            The ratio: signal to noise of each output in dB. Where they show no output in common, they are not alike.
        """
        shown = [{self._outputs.get(name, name): seen.value for name, seen in made.items()} for made in (one, other)]
        common = shown[0].keys() & shown[1].keys() & set(self._outputs.values())
        return bool(common) and all(
            ratio_db(torch.from_numpy(shown[0][name]), shown[1][name]) >= least_db for name in common
        )

    @torch.no_grad()
    def errors(self, inputs: Mapping[str, FloatArray], made: Values, rounding: Rounding = EXACT) -> list[LayerError]:
        """Compare every operator that an artifact shows, in running order.

        Torch computes each operator in the network's own stream, and on what the artifact gave for its inputs, so that
        an error is seen once, in the layer that makes it; there once more with rounded weights and inputs. What the
        artifact does not show is computed on from what it does.

        Parameters
        ----------
        inputs
            By name, of the spec's shapes.
        made
            What the artifact computed on them; arrays of another shape than torch's are left out.
        rounding
            What the artifact's precision does to weights and inputs.
        """
        fed = dict(zip(self._inputs, as_tensors(inputs, self._spec), strict=True))
        truth: dict[Node, Any] = {}
        own: dict[Node, Any] = {}
        rounded: dict[Node, Any] = {}
        found = []
        for node in self._graph.nodes:
            if node.op == "placeholder":
                truth[node] = own[node] = rounded[node] = fed.get(node.name, self._constants.get(node.name))
                continue
            if node.op != "call_function":
                continue
            truth[node], own[node] = _call(node, truth), _call(node, own)
            reads = self._rounded_reads(node, rounded, rounding)
            same = not reads and all(rounded[read] is own[read] for read in node.all_input_nodes)
            rounded[node] = own[node] if same else _call(node, {**rounded, **reads})
            if _kind(node) in _ARITHMETIC:
                rounded[node] = rounding.hidden(rounded[node])
            seen = made.get(node.name, made.get(self._outputs.get(node.name, "")))
            if seen is not None and isinstance(truth[node], Tensor) and tuple(truth[node].shape) == seen.value.shape:
                found.append(
                    LayerError(
                        node=node.name,
                        layer=module_of(node) or f"forward: {node.name}",
                        op=_kind(node),
                        local_db=ratio_db(own[node], seen.value),
                        rounding_db=_rounding_ratio(own[node], rounded[node], seen),
                        drift_db=ratio_db(truth[node], seen.value),
                    )
                )
                own[node] = rounded[node] = torch.from_numpy(np.ascontiguousarray(seen.value))
            for read in node.all_input_nodes:
                if self._last[read] is node:
                    for stream in (truth, own, rounded):
                        stream.pop(read, None)
        return found

    def _rounded_reads(self, node: Node, values: Mapping[Node, Any], rounding: Rounding) -> dict[Node, Any]:
        """Return what a layer reads of a rounded weight and of rounded inputs; nothing for other operators."""
        weight = self.weight(node)
        if rounding is EXACT or weight is None or weight.ndim < _MATRIX:
            return {}
        multiplied, stored = node.all_input_nodes[:2]
        return {multiplied: rounding.inputs(values[multiplied]), stored: rounding.weight(values[stored])}


def _kind(node: Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def _call(node: Node, values: Mapping[Node, Any]) -> Any:  # noqa: ANN401 - a tensor, or several
    arguments, named = torch.fx.node.map_arg((node.args, dict(node.kwargs)), lambda read: values[read])
    target: Any = node.target
    return target(*arguments, **named)


def _rounding_ratio(expected: Tensor, rounded: Tensor, seen: Seen) -> float:
    """Return the power of a value over that of what rounding does to it, in dB.

    That is what rounded weights and inputs change, the rounding of the value itself, and the few values that a
    calibrated range leaves out.
    """
    if not expected.is_floating_point():
        return BEST_DB
    own = expected.double()
    noise = 0.0 if rounded is expected else float((rounded.double() - own).square().mean())
    if seen.step:
        kept = own.clamp(float(seen.value.min()) - seen.step / 2, float(seen.value.max()) + seen.step / 2)
        noise += seen.step**2 / 12
        if float((kept != own).double().mean()) <= _CLIPPED:
            noise += float((kept - own).square().mean())
    power = float(own.square().mean())
    if not math.isfinite(noise) or not math.isfinite(power) or not noise:
        return BEST_DB
    return min(10 * math.log10(power / noise), BEST_DB) if power else WORST_DB


def ratio_db(reference: Tensor, made: FloatArray) -> float:
    """Return signal over error in dB, between `WORST_DB` and `BEST_DB`.

    What is not finite must be so on both sides, and counts no more: a layer that is given a negative number to take
    the logarithm of does nothing wrong.
    """
    expected = reference.numpy()
    if not reference.is_floating_point():
        return BEST_DB if np.array_equal(expected, made) else WORST_DB
    finite = np.isfinite(expected) & np.isfinite(made)
    if not np.array_equal(expected[~finite], made[~finite], equal_nan=True):
        return WORST_DB
    ratio = sqnr_db(expected[finite], made[finite]) if finite.any() else math.inf
    return BEST_DB if ratio == math.inf else max(ratio, WORST_DB)
