"""Writes one position of a cache where a product with a one-hot position went over all of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from pocketcrafter.export.lower.onnx_coverage import shapes_of
from pocketcrafter.quantize.nbits import drop_unused

_INDEX: Final = "cache.index"


@dataclass(frozen=True)
class _Write:
    """``old * (1 - here) + new * here``, with ``here`` one-hot along one axis of ``old``."""

    old: str
    new: str
    axis: int
    shape: tuple[int, ...]
    """Of ``new``."""


def written_in_place(model: ModelProto, selector: str) -> ModelProto:
    """Return a model that scatters what it writes into caches, bit for bit the same.

    Networks for accelerators write a position into a cache by ``old * (1 - here) + new * here``, which any of them has.
    On a CPU that goes over the whole cache three times for a single position; a scatter writes that one alone.

    Parameters
    ----------
    model
        That ``torch.onnx.export(..., dynamo=True)`` wrote, with static shapes; left as it is.
    selector
        The input that says where, one-hot. With any other values the model that is returned computes something else.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    shapes = shapes_of(made)
    makers = {output: node for node in graph.node for output in node.output}
    ones = {one.name for one in graph.initializer if np.array_equal(numpy_helper.to_array(one).ravel(), [1.0])}
    found = {node.name: write for node in graph.node if (write := _write(node, makers, shapes, selector, ones))}
    if not found:
        return made
    axis = next(index for index, size in enumerate(shapes[selector]) if size != 1)
    nodes = [helper.make_node("ArgMax", [selector], [_INDEX], name=_INDEX, axis=axis, keepdims=0)]
    for shape in sorted({write.shape for write in found.values()}):
        name = _spread(shape)
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}.shape"))
        nodes.append(helper.make_node("Expand", [_INDEX, f"{name}.shape"], [name], name=name))
    nodes += [_scattered(node, found[node.name]) if node.name in found else node for node in graph.node]
    _keep(graph, nodes)
    onnx.checker.check_model(made)
    return made


def _write(
    node: NodeProto,
    makers: Mapping[str, NodeProto],
    shapes: Mapping[str, tuple[int, ...]],
    selector: str,
    ones: Collection[str],
) -> _Write | None:
    terms = [makers.get(name) for name in node.input]
    if node.op_type != "Add" or any(term is None or term.op_type != "Mul" for term in terms):
        return None
    first, second = (list(term.input) for term in terms if term is not None)
    for kept, written in ((first, second), (second, first)):
        here = next((name for name in written if _selects(name, makers, selector)), None)
        elsewhere = next((name for name in kept if name in makers and _is_rest(makers[name], here, ones)), None)
        if here is None or elsewhere is None:
            continue
        (old,) = (name for name in kept if name != elsewhere)
        (new,) = (name for name in written if name != here)
        axis = next(index for index, size in enumerate(shapes[here]) if size != 1)
        shape = shapes[new]
        if len(shape) == len(shapes[old]) == len(shapes[here]) and shape[axis] == 1:
            return _Write(old, new, axis, shape)
    return None


def _selects(name: str, makers: Mapping[str, NodeProto], selector: str) -> bool:
    maker = makers.get(name)
    return name == selector or (maker is not None and maker.op_type == "Reshape" and maker.input[0] == selector)


def _is_rest(maker: NodeProto, here: str | None, ones: Collection[str]) -> bool:
    return maker.op_type == "Sub" and maker.input[0] in ones and maker.input[1] == here


def _spread(shape: Sequence[int]) -> str:
    return f"{_INDEX}.{'x'.join(map(str, shape))}"


def _scattered(node: NodeProto, write: _Write) -> NodeProto:
    return helper.make_node(
        "ScatterElements", [write.old, _spread(write.shape), write.new], node.output, name=node.name, axis=write.axis
    )


def _keep(graph: onnx.GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Put nodes into a graph, but for those that nothing reads any more."""
    read = {output.name for output in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    drop_unused(graph)
