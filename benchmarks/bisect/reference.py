"""The network in full precision, operator by operator, beside what an artifact computed."""

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Node

from pocketcrafter.benchmarks.profile.layers import module_of
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.fidelity import sqnr_db

Values = Mapping[str, FloatArray]
"""What an artifact computed, by the name of the torch operator that it stands for."""

WORST_DB: Final = -1e3
"""Stands for a value that is not finite, or for nothing alike."""
BEST_DB: Final = 1e3
"""Stands for equality."""


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
        The artifact's output against torch's on the artifact's own inputs: what this layer does wrong.
    drift_db
        The artifact's output against the full-precision network's: what has come together up to here.
    """

    node: str
    layer: str
    op: str
    local_db: float
    drift_db: float


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
            The operator.
        shown
            Names of those that the artifact shows.
        """
        by_name = {found.name: found for found in self.operators()}
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
        read = node.args[1] if len(node.args) > 1 else None
        if not isinstance(read, Node) or read.name not in self._constants:
            return None
        made: FloatArray = self._constants[read.name].detach().numpy()
        return made

    def is_constant(self, node: Node) -> bool:
        """Whether a node is a weight or another stored tensor."""
        return node.name in self._constants

    @torch.no_grad()
    def errors(self, inputs: Mapping[str, FloatArray], made: Values) -> list[LayerError]:
        """Compare every operator that an artifact shows, in running order.

        Torch computes each operator twice: in the network's own stream, and on what the artifact gave for its inputs,
        so that an error is seen once, in the layer that makes it. What the artifact does not show is computed on from
        what it does.

        Parameters
        ----------
        inputs
            By name, of the spec's shapes.
        made
            What the artifact computed on them; arrays of another shape than torch's are left out.
        """
        fed = dict(zip(self._inputs, as_tensors(inputs, self._spec), strict=True))
        truth: dict[Node, Any] = {}
        own: dict[Node, Any] = {}
        found = []
        for node in self._graph.nodes:
            if node.op == "placeholder":
                truth[node] = own[node] = fed.get(node.name, self._constants.get(node.name))
                continue
            if node.op != "call_function":
                continue
            truth[node], own[node] = _call(node, truth), _call(node, own)
            shown = made.get(node.name, made.get(self._outputs.get(node.name, "")))
            if shown is not None and isinstance(truth[node], Tensor) and tuple(truth[node].shape) == shown.shape:
                found.append(
                    LayerError(
                        node=node.name,
                        layer=module_of(node) or f"forward: {node.name}",
                        op=str(node.target).removeprefix("aten.").partition(".")[0],
                        local_db=_ratio(own[node], shown),
                        drift_db=_ratio(truth[node], shown),
                    )
                )
                own[node] = torch.from_numpy(np.ascontiguousarray(shown))
            for read in node.all_input_nodes:
                if self._last[read] is node:
                    truth.pop(read, None)
                    own.pop(read, None)
        return found


def _call(node: Node, values: Mapping[Node, Any]) -> Any:  # noqa: ANN401 - a tensor, or several
    arguments, named = torch.fx.node.map_arg((node.args, dict(node.kwargs)), lambda read: values[read])
    target: Any = node.target
    return target(*arguments, **named)


def _ratio(reference: Tensor, made: FloatArray) -> float:
    expected = reference.numpy()
    if not reference.is_floating_point():
        return BEST_DB if np.array_equal(expected, made) else WORST_DB
    if not np.isfinite(made).all() or not np.isfinite(expected).all():
        return WORST_DB
    ratio = sqnr_db(expected, made)
    return BEST_DB if ratio == math.inf else max(ratio, WORST_DB)
