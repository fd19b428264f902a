"""The layers of a network in the order in which they run: what each computes and reads, and what it is called."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import torch
from torch import nn
from torch.fx import Node

from pocketcrafter.export.lower.executorch.coverage import macs_of
from pocketcrafter.runtime.components import ComponentSpec


class LayerKind(StrEnum):
    """Layers by how they use a processor: these differ by an order of magnitude in speed for each MAC."""

    POINTWISE = "1×1 convolution"
    DEPTHWISE = "depthwise convolution"
    CONVOLUTION = "convolution"
    LINEAR = "linear"
    PRODUCT = "matrix product"
    OTHER = "no MACs"


@dataclass(frozen=True)
class Layer:
    """One operator of the exported network.

    Attributes
    ----------
    node
        Its name in the exported graph; ONNX nodes are called ``node_<this>``.
    module
        Qualified name of the torch module; empty for the network's own ``forward``.
    op
        Operator, as in ``conv2d``.
    macs
        Multiply-accumulates.
    weights
        Numbers in its weight and bias.
    read, written
        Numbers in its other inputs and in its outputs.
    """

    node: str
    module: str
    op: str
    kind: LayerKind
    macs: int
    weights: int
    read: int
    written: int

    @property
    def name(self) -> str:
        """How a person finds it: its module, or its operator in the forward."""
        return self.module or f"forward: {self.node}"


_CONSTANTS: Final = frozenset({"get_attr", "placeholder"})


def layers_of(model: nn.Module, spec: ComponentSpec) -> list[Layer]:
    """Export a network and list its operators in running order.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU, nothing trainable.
    spec
        Its inputs.
    """
    inputs = tuple(torch.full(t.shape, 0.5) for t in spec.inputs)
    with torch.no_grad():
        exported = torch.export.export(model, inputs, strict=False)
    weights: Mapping[str, Any] = {
        **exported.graph_signature.inputs_to_parameters,
        **exported.graph_signature.inputs_to_buffers,
    }
    return [_layer(n, weights) for n in exported.graph.nodes if n.op == "call_function" and _size(n)]


def module_of(node: Node) -> str:
    """Return the qualified name of the torch module that an operator comes from; empty for the network's own."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    module: str = stack[-1][0] if stack else ""
    return module.removeprefix("L['self'].").removeprefix("L['self']")


def _layer(node: Node, weights: Mapping[str, Any]) -> Layer:
    held = [n for n in node.all_input_nodes if n.name in weights or n.op == "get_attr"]
    macs = macs_of(node)
    return Layer(
        node=node.name,
        module=module_of(node),
        op=str(node.target).removeprefix("aten.").partition(".")[0],
        kind=_kind(node, macs),
        macs=macs,
        weights=sum(_size(n) for n in held),
        read=sum(_size(n) for n in node.all_input_nodes if n not in held),
        written=_size(node),
    )


def _kind(node: Node, macs: int) -> LayerKind:
    target = str(node.target)
    if not macs:
        return LayerKind.OTHER
    if "conv" in target:
        shape = node.args[1].meta["val"].shape if isinstance(node.args[1], Node) else (0, 0, 0, 0)
        if shape[1] == 1 and shape[0] > 1:
            return LayerKind.DEPTHWISE
        return LayerKind.POINTWISE if math.prod(shape[2:]) == 1 else LayerKind.CONVOLUTION
    return LayerKind.LINEAR if "linear" in target or "addmm" in target else LayerKind.PRODUCT


def _size(node: Node) -> int:
    value = node.meta.get("val")
    values = value if isinstance(value, list | tuple) else (value,)
    return sum(math.prod(v.shape) for v in values if isinstance(v, torch.Tensor))
