"""Weight-only quantization of ONNX models for ONNX Runtime's MatMulNBits: 2, 4 or 8 bits, in blocks."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from pocketcrafter.quantize.algorithms.blocks import BLOCK, Blocks, nearest, packed, unpacked
from pocketcrafter.quantize.onnx.graph import constants_of, drop_unused, inside, makers_of, module_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError, ShapeMismatchError

JOINED: Final = "+"
"""Between the names of layers that are one product."""

_OPERATOR: Final = "MatMulNBits"
_DOMAIN: Final = "com.microsoft"
_CAST: Final = "Cast"
_INTEGERS: Final = 4
"""ONNX Runtime's accuracy level for products of integers: activations are rounded to INT8 as they come, block by block.

In float32 every weight is decoded for every word, and the decoder takes three times as long.
"""
_FLOATS: Final = 1
"""The level for products in float32."""


def quantize_linears(
    model: onnx.ModelProto,
    bits: int,
    keep_fp32: tuple[str, ...] = (),
    rounded: Mapping[str, Blocks] | None = None,
) -> onnx.ModelProto:
    """Quantize the weights of linear layers, to the nearest level where nothing better is given.

    Parameters
    ----------
    model
        A model that ``torch.onnx.export(..., dynamo=True)`` wrote; left as it is.
    bits
        2, 4 or 8.
    keep_fp32
        Qualified names of torch modules whose weights stay float32.
    rounded
        Levels that were chosen already, by the torch module's name; their bits may be others.

    Returns
    -------
    onnx.ModelProto
        The model with ``MatMulNBits`` in place of every linear layer without bias whose input is a multiple of `BLOCK`.
        Layers with one input and equal bits are one product, named after all of them with `JOINED` between: starting
        each by itself takes as long as half of what it computes.

    Raises
    ------
    ConfigError
        If there is no layer to quantize.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    weights = constants_of(graph)
    chosen = [node for node in linear_nodes(made) if not inside(node, keep_fp32)]
    if not chosen:
        raise ConfigError("No linear layer is left to quantize: keep fewer modules in float32, or build it in fp32.")
    makers = makers_of(graph)
    dear = next((node.name for node in chosen if _reads_product(node, makers, weights)), None)
    alike: dict[tuple[object, ...], list[tuple[onnx.NodeProto, Blocks]]] = defaultdict(list)
    for node in chosen:
        weight = numpy_helper.to_array(weights[node.input[1]])
        blocks = (rounded or {}).get(module_of(node)) or nearest(torch.tensor(weight), bits, brief=True)
        if blocks.levels.shape != weight.shape:
            raise ShapeMismatchError(f"{node.name}: levels of {tuple(blocks.levels.shape)} for {weight.shape} weights.")
        alike[node.input[0], blocks.bits, blocks.short, node.name == dear].append((node, blocks))
    nodes: dict[str, list[onnx.NodeProto]] = {node.name: [] for node in chosen}
    casts: list[onnx.NodeProto] = []
    for layers in alike.values():
        first = layers[0][0].name
        cast, nodes[first] = _product(graph, layers, _FLOATS if first == dear else _INTEGERS)
        casts += cast
    rest = [*casts, *(made for node in graph.node for made in nodes.get(node.name, [node]))]
    del graph.node[:]
    graph.node.extend(rest)
    drop_unused(graph)
    if not any(opset.domain == _DOMAIN for opset in made.opset_import):
        made.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return made


def _product(
    graph: onnx.GraphProto, layers: Sequence[tuple[onnx.NodeProto, Blocks]], accuracy: int
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Store the weights of layers alike; return what reads them, and what computes the layers' outputs."""
    all_of, made = [node for node, _ in layers], [blocks for _, blocks in layers]
    blocks = Blocks(torch.cat([one.levels for one in made]), torch.cat([one.scales for one in made]), made[0].bits)
    rows, columns = blocks.levels.shape
    name, outputs = JOINED.join(node.name for node in all_of), [node.output[0] for node in all_of]
    levels, scales, whole = f"{name}.levels", f"{name}.scales", f"{name}.whole"
    packs = packed(blocks).reshape(rows, -1, BLOCK * blocks.bits // 8)
    steps = blocks.scales.numpy().reshape(-1)
    graph.initializer.append(numpy_helper.from_array(packs, levels))
    casts, splits = [], []
    if blocks.short:
        # The operator takes scales of its input's type: ONNX Runtime widens them once, when it loads the model.
        graph.initializer.append(numpy_helper.from_array(steps.astype(np.float16), f"{scales}.short"))
        casts = [helper.make_node(_CAST, [f"{scales}.short"], [scales], name=f"{scales}.cast", to=TensorProto.FLOAT)]
    else:
        graph.initializer.append(numpy_helper.from_array(steps, scales))
    if len(layers) > 1:
        parts = np.array([one.levels.shape[0] for one in made], np.int64)
        graph.initializer.append(numpy_helper.from_array(parts, f"{name}.parts"))
        splits = [helper.make_node("Split", [whole, f"{name}.parts"], outputs, name=f"{name}.split", axis=-1)]
        outputs = [whole]
    facts = {"K": columns, "N": rows, "bits": blocks.bits, "block_size": BLOCK, "accuracy_level": accuracy}
    product = helper.make_node(
        _OPERATOR, [all_of[0].input[0], levels, scales], outputs, name=name, domain=_DOMAIN, **facts
    )
    product.metadata_props.extend(all_of[0].metadata_props)
    return casts, [product, *splits]


def _reads_product(
    node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]
) -> bool:
    """Say whether a layer's input is one activation times another, as after a gate.

    The first such layer of a language model makes its few massive activations (Sun et al., COLM 2024) from products
    that reach far beyond their block: in integers it alone costs the shipped decoder 7 dB. The other three cost
    nothing, and in float32 would take half as much time again.
    """
    maker = makers.get(node.input[0])
    return maker is not None and maker.op_type == "Mul" and not constants.keys() & set(maker.input)


def decoded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an equal model of plain float32 products: its weights read back from their blocks, independently.

    What ONNX Runtime computes from the quantized model is held against this one.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    matrices = matrices_of(model)
    constants = {tensor.name for tensor in made.graph.initializer}
    casts = [n for n in made.graph.node if n.op_type == _CAST and n.input[0] in constants]
    for node in made.graph.node:
        if node.op_type != _OPERATOR:
            continue
        name = f"{node.name}.weight"
        made.graph.initializer.append(numpy_helper.from_array(matrices[node.name].T.copy(), name))
        node.CopyFrom(helper.make_node("MatMul", [node.input[0], name], list(node.output), name=node.name))
    used = {name for node in made.graph.node for name in node.input}
    left = [node for node in made.graph.node if node not in casts or node.output[0] in used]
    del made.graph.node[:]
    made.graph.node.extend(left)
    drop_unused(made.graph)
    return made


def matrices_of(model: onnx.ModelProto) -> dict[str, FloatArray]:
    """Return the weights that the levels of every ``MatMulNBits`` stand for, ``(N, K)``, float32, by its node's name.

    Levels are counted from the lowest, as the operator does without zero points.
    """
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    casts = [n for n in model.graph.node if n.op_type == _CAST and n.input[0] in stored]
    stored |= {n.output[0]: stored[n.input[0]].astype(np.float32) for n in casts}
    made = {}
    for node in model.graph.node:
        if node.op_type != _OPERATOR:
            continue
        facts = {a.name: a.i for a in node.attribute}
        levels = unpacked(stored[node.input[1]].reshape(facts["N"], -1), facts["bits"])
        steps = np.repeat(stored[node.input[2]].reshape(facts["N"], -1), facts["block_size"], 1)
        made[node.name] = (levels.astype(np.float32) * steps)[:, : facts["K"]]
    return made


def linear_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that `quantize_linears` takes: layers without bias, with constant weights of whole blocks."""
    weights = constants_of(model.graph)
    return [node for node in model.graph.node if _is_linear(node, weights)]


def _is_linear(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a node is ``x · Wᵀ`` with a constant ``W`` of whole blocks, as layers without bias are exported."""
    if node.op_type != "Gemm" or len([name for name in node.input if name]) != 2 or node.input[1] not in weights:
        return False
    facts = {a.name: a for a in node.attribute}
    plain = ("alpha" not in facts or facts["alpha"].f == 1) and not ("transA" in facts and facts["transA"].i)
    return plain and "transB" in facts and facts["transB"].i == 1 and weights[node.input[1]].dims[1] % BLOCK == 0
