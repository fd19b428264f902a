"""Caches in place: attention writes the keys and values of new positions behind those that were read before.

As one input of all layers, each layer's part would be copied out of it, joined with the new positions and copied again.
Here each layer's caches are an input and an output of their own, which share their memory when the graph runs; see
`pocketcrafter.runtime.backends.onnx_caches`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from pocketcrafter.export.lower.onnx.attention import ATTENTION
from pocketcrafter.quantize.onnx.dynamic import WHOLE_PRODUCT
from pocketcrafter.quantize.onnx.graph import constants_of, keep_needed, makers_of
from pocketcrafter.quantize.onnx.matmul_nbits import JOINED
from pocketcrafter.runtime.backends.onnx_caches import CACHES, at_least, part

_FREE: Final = "cached"
_PACKED: Final = "attention.packed"
_PAST: Final = 3
"""Where the caches begin among the inputs of attention; among its outputs they follow the first."""


def put_caches_in_place(model: onnx.ModelProto) -> None:
    """Give each layer's caches an input and an output of the graph, in place of those of all layers.

    Where one product makes queries, keys and values, or three whose inputs are one, attention takes them as they lie.

    Parameters
    ----------
    model
        With attention as :func:`pocketcrafter.export.lower.onnx.attention.expand_attention` writes it; one without it
        stays as it is.
    """
    graph = model.graph
    attentions = [node for node in graph.node if node.op_type == ATTENTION]
    if not attentions:
        return
    sizes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input if v.name in CACHES}
    replaced = {*CACHES, *CACHES.values()}
    inputs, outputs = ([v for v in values if v.name not in replaced] for values in (graph.input, graph.output))
    nodes = {node.name: [node] for node in graph.node}
    for layer, node in enumerate(attentions):
        _pack(graph, node, nodes)
        for place, (cache, new) in enumerate(CACHES.items()):
            _, heads, length, width = sizes[cache]
            node.input[_PAST + place], node.output[1 + place] = part(cache, layer), part(new, layer)
            for values, name, axis in ((inputs, cache, at_least(length)), (outputs, new, _FREE)):
                shape = [1, heads, axis, width]
                values.append(helper.make_tensor_value_info(part(name, layer), TensorProto.FLOAT, shape))
    for held, values in ((graph.input, inputs), (graph.output, outputs)):
        kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in values]
        del held[:]
        held.extend(kept)
    keep_needed(graph, [made for node in graph.node for made in nodes[node.name]])


def _pack(graph: GraphProto, attention: NodeProto, nodes: dict[str, list[NodeProto]]) -> None:
    """Have attention take queries, keys and values as one tensor, where one product can make it."""
    makers, before = makers_of(graph), list[NodeProto]()
    reshapes = [makers[name] for name in attention.input[:_PAST]]
    read = [node.input[0] for node in reshapes]
    products = [makers[name] for name in read]
    if products[0].op_type == "Split" and list(products[0].output) == read:
        whole = products[0].input[0]
    elif all(node.op_type == WHOLE_PRODUCT and node.input[0] == products[0].input[0] for node in products):
        before = [_joined(graph, products)]
        whole = before[0].output[0]
    else:
        return
    facts: dict[str, Any] = {a.name: a.i for a in attention.attribute}
    heads = facts["num_heads"] + 2 * facts["kv_num_heads"]
    width = int(numpy_helper.to_array(constants_of(graph)[reshapes[1].input[1]])[2]) // facts["kv_num_heads"]
    shape = f"{_PACKED}_{heads * width}"
    if shape not in constants_of(graph):
        graph.initializer.append(numpy_helper.from_array(np.array([1, -1, heads * width], np.int64), shape))
    packed = helper.make_node("Reshape", [whole, shape], [f"{attention.name}.packed"], name=f"{attention.name}.packed")
    nodes[attention.name] = [*before, packed, attention]
    attention.input[0], attention.input[1], attention.input[2] = packed.output[0], "", ""


def _joined(graph: GraphProto, products: Sequence[NodeProto]) -> NodeProto:
    """Return one product in place of several of the same input, whose weights and scales go into the graph."""
    constants: Mapping[str, TensorProto] = constants_of(graph)
    name = JOINED.join(node.name for node in products)
    inputs = [products[0].input[0]]
    for place, what in ((1, "weight"), (2, "scales")):
        values = [numpy_helper.to_array(constants[node.input[place]]) for node in products]
        inputs.append(f"{name}.{what}")
        graph.initializer.append(numpy_helper.from_array(np.concatenate(values, -1), inputs[-1]))
    return helper.make_node(WHOLE_PRODUCT, inputs, [f"{name}.whole"], name=name, domain=products[0].domain)
