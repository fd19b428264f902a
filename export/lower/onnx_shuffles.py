"""Pixel shuffles that move whole pixels, whose channels ONNX Runtime keeps together in an INT8 picture."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.shape_inference import infer_shapes

from pocketcrafter.export.lower.onnx_coverage import shapes_of
from pocketcrafter.export.lower.onnx_graph import Readers, keep_needed, makers_of, only_reader, readers_of

_UNSHUFFLED: Final = [0, 1, 3, 5, 2, 4]
"""How torch's exporter orders axes where it spells out a pixel unshuffle: two sides of a pixel behind its channels."""


def shuffled_whole(model: ModelProto) -> ModelProto:
    """Return an equal model whose pixel shuffles move a pixel's channels together.

    What a convolution's output channel means is its own affair: in another order of its weights, what becomes one
    pixel lies together, and a shuffle copies rows of bytes where it picked single ones.

    Parameters
    ----------
    model
        What ``torch.onnx.export(..., dynamo=True)`` wrote, in float32 and with static shapes; left as it is.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    shapes, makers, readers = shapes_of(made), makers_of(graph), readers_of(graph)
    new: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "DepthToSpace" and helper.get_node_attr_value(node, "mode") == b"CRD":
            source, factor = makers.get(node.input[0]), helper.get_node_attr_value(node, "blocksize")
            if (
                source is not None
                and only_reader(source, node.op_type, readers)
                and _reorder(graph, readers, source, 0, factor)
            ):
                new[node.output[0]] = _together(graph, node, shapes[node.output[0]], factor)
        elif node.op_type == "Transpose" and helper.get_node_attr_value(node, "perm") == _UNSHUFFLED:
            before, behind = makers.get(node.input[0]), only_reader(node, "Reshape", readers)
            reader = only_reader(behind, "Conv", readers)
            factor = shapes[node.input[0]][3]
            square = factor == shapes[node.input[0]][5]
            if before and behind and reader and square and _reorder(graph, readers, reader, 1, factor):
                whole = helper.make_node(
                    "SpaceToDepth", [before.input[0]], list(behind.output), name=behind.name, blocksize=factor
                )
                whole.metadata_props.extend(behind.metadata_props)
                new[behind.output[0]] = [whole]
    keep_needed(graph, [one for node in graph.node for one in new.get(node.output[0], [node])])
    inferred: ModelProto = infer_shapes(made)
    return inferred


def _reorder(graph: GraphProto, readers: Readers, convolution: NodeProto, axis: int, factor: int) -> bool:
    """Put a convolution's output channels (axis 0 of its weight) or input channels (1) in the order of whole pixels.

    From ``(channel, row, column)`` to ``(row, column, channel)``. Returns whether that could be done.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    changed = convolution.input[1:] if axis == 0 else convolution.input[1:2]
    group = next((attribute.i for attribute in convolution.attribute if attribute.name == "group"), 1)
    if convolution.op_type != "Conv" or group != 1 or any(n not in constants or len(readers[n]) > 1 for n in changed):
        return False
    for name in changed:
        values = numpy_helper.to_array(constants[name])
        count = values.shape[axis]
        order: npt.NDArray[np.int64] = np.arange(count).reshape(-1, factor**2).T.reshape(-1)
        constants[name].CopyFrom(numpy_helper.from_array(np.take(values, order, axis), name))
    return True


def _together(graph: GraphProto, node: NodeProto, shape: Sequence[int], factor: int) -> list[NodeProto]:
    """Return a shuffle as moves with channels last; what turns the picture so and back meets its like, and goes."""
    batch, channels, rows, columns = shape
    views = {
        "parts": (batch, rows // factor, columns // factor, factor, factor * channels),
        "whole": (batch, rows, columns, channels),
    }
    for name, view in views.items():
        graph.initializer.append(numpy_helper.from_array(np.array(view, np.int64), f"{node.name}.{name}.shape"))
    steps: list[tuple[str, list[str], list[int] | None]] = [
        ("Transpose", [], [0, 2, 3, 1]),
        ("Reshape", [f"{node.name}.parts.shape"], None),
        ("Transpose", [], [0, 1, 3, 2, 4]),
        ("Reshape", [f"{node.name}.whole.shape"], None),
        ("Transpose", [], [0, 3, 1, 2]),
    ]
    made: list[NodeProto] = []
    last = node.input[0]
    for number, (operator, others, order) in enumerate(steps):
        output = node.output[0] if number == len(steps) - 1 else f"{node.name}.{number}"
        settings = {} if order is None else {"perm": order}
        made.append(helper.make_node(operator, [last, *others], [output], name=f"{node.name}.{number}", **settings))
        made[-1].metadata_props.extend(node.metadata_props)
        last = output
    return made
