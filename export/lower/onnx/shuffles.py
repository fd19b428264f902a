"""Rewrites pixel shuffles for the NHWC layout of INT8 tensors in ONNX Runtime, so that they copy whole pixels."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.shape_inference import infer_shapes

from pocketcrafter.export.lower.onnx.coverage import shapes_of
from pocketcrafter.quantize.onnx.graph import Readers, constants_of, keep_needed, makers_of, only_reader, readers_of

_UNSHUFFLED: Final = [0, 1, 3, 5, 2, 4]
"""How torch's exporter orders axes where it spells out a pixel unshuffle: two sides of a pixel behind its channels."""

_WHOLE: Final = 4
"""Pixels are padded to a multiple of this many channels: ONNX Runtime's INT8 kernels process 16 output columns at a
time (12 outputs take twice as long as 16), and copying three bytes a pixel is done byte by byte."""


def shuffled_whole(model: ModelProto) -> ModelProto:
    """Return an equal model whose pixel shuffles move a pixel's channels together.

    The output channels of the convolution before a shuffle are reordered, so that the channels of one output pixel are
    adjacent and the shuffle copies contiguous bytes. Where a pixel is padded to more channels, the padding is cut off
    after the shuffle.

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
    # Filled pixels have other shapes.
    del graph.value_info[:]
    inferred: ModelProto = infer_shapes(made)
    return inferred


def _reorder(graph: GraphProto, readers: Readers, convolution: NodeProto, axis: int, factor: int) -> bool:
    """Put a convolution's output channels (axis 0 of its weight) or input channels (1) in the order of whole pixels.

    From ``(channel, row, column)`` to ``(row, column, channel)``, output channels filled up with zeros. Returns whether
    that could be done.
    """
    constants = constants_of(graph)
    changed = convolution.input[1:] if axis == 0 else convolution.input[1:2]
    group = next((attribute.i for attribute in convolution.attribute if attribute.name == "group"), 1)
    if convolution.op_type != "Conv" or group != 1 or any(n not in constants or len(readers[n]) > 1 for n in changed):
        return False
    for name in changed:
        values = numpy_helper.to_array(constants[name])
        pixels = np.moveaxis(values, axis, 0).reshape(-1, factor**2, *np.delete(values.shape, axis)).swapaxes(0, 1)
        if axis == 0:
            more = _filled(pixels.shape[1]) - pixels.shape[1]
            pixels = np.pad(pixels, [(0, 0), (0, more), *[(0, 0)] * (pixels.ndim - 2)])
        made = np.moveaxis(pixels.reshape(-1, *pixels.shape[2:]), 0, axis)
        constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(made), name))
    return True


def _filled(channels: int) -> int:
    return -(-channels // _WHOLE) * _WHOLE


def _together(graph: GraphProto, node: NodeProto, shape: Sequence[int], factor: int) -> list[NodeProto]:
    """Return a shuffle in NHWC; ONNX Runtime removes its transposes, which cancel with those of its neighbors."""
    batch, channels, rows, columns = shape
    moved = _filled(channels)
    constants = {
        "parts": [batch, rows // factor, columns // factor, factor, factor * moved],
        "whole": [batch, rows, columns, moved],
    }
    steps: list[tuple[str, list[str], list[int] | None]] = [
        ("Transpose", [], [0, 2, 3, 1]),
        ("Reshape", ["parts"], None),
        ("Transpose", [], [0, 1, 3, 2, 4]),
        ("Reshape", ["whole"], None),
        ("Transpose", [], [0, 3, 1, 2]),
    ]
    if moved > channels:
        constants |= {"first": [0], "behind": [channels], "axis": [1]}
        steps.append(("Slice", ["first", "behind", "axis"], None))
    for name, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"{node.name}.{name}"))
    made: list[NodeProto] = []
    last = node.input[0]
    for number, (operator, others, order) in enumerate(steps):
        output = node.output[0] if number == len(steps) - 1 else f"{node.name}.{number}"
        inputs = [last, *(f"{node.name}.{name}" for name in others)]
        settings = {} if order is None else {"perm": order}
        made.append(helper.make_node(operator, inputs, [output], name=f"{node.name}.{number}", **settings))
        made[-1].metadata_props.extend(node.metadata_props)
        last = output
    return made
