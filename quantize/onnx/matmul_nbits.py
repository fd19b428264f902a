"""Weight-only quantization of ONNX models as ONNX Runtime's ``MatMulNBits``: 2, 4 or 8 bits, one scale per group.

Weights that lie on a grid already keep it, as those of a GGUF file in Q8_0, and of 2 or 4 bits those in Q4_1, which has
offsets: their products with sums of each group's inputs are added.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from pocketcrafter.quantize.algorithms.blocks import GROUP_SIZE, Blocks, IntegerFormat, as_stored, packed, unpacked
from pocketcrafter.quantize.algorithms.hessians import Hessians
from pocketcrafter.quantize.algorithms.rounding import NO_HESSIANS, bits_for, round_weight
from pocketcrafter.quantize.config import WeightOnly
from pocketcrafter.quantize.onnx.graph import constants_of, drop_unused, inside, makers_of, module_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError

JOINED: Final = "+"
"""Joins the names of layers that became one product."""

OFFSETS: Final = ".offset_products"
"""Ends the names of nodes that multiply offsets, which belong to the layer before it."""

_OPERATOR: Final = "MatMulNBits"
_DOMAIN: Final = "com.microsoft"
_CAST: Final = "Cast"
_INT8_ACTIVATIONS: Final = 4
"""ONNX Runtime's accuracy level for integer products: activations are rounded to INT8 at run time, group by group.

With float32 products every weight is dequantized for every token, and the decoder takes three times as long.
"""
_FLOAT32_ACTIVATIONS: Final = 1
"""ONNX Runtime's accuracy level for float32 products."""
_WIDE: Final = 16
"""Bits of activations that are multiplied in two parts of 8."""
_FLOAT: Final = 32


def quantize_matmul_nbits(
    model: onnx.ModelProto, scheme: WeightOnly, hessians: Hessians = NO_HESSIANS, folder: Path | None = None
) -> onnx.ModelProto:
    """Quantize the weights of linear layers without bias.

    Parameters
    ----------
    model
        Written by ``torch.onnx.export(..., dynamo=True)``; not modified.
    scheme
        Bits, group size and rounding, and modules that stay float32.
    hessians
        Of the layers that GPTQ rounds, by the torch modules' qualified names; other layers are rounded to nearest.
    folder
        Where the model's external data lies, if it has any: weights are read from there one after another.

    Returns
    -------
    onnx.ModelProto
        With ``MatMulNBits`` in place of every linear layer without bias whose number of inputs is a multiple of the
        group size. Layers with one input and equal bits become one product, named after all of them with `JOINED`
        between: starting a product takes half as long as computing it. `matrices_of` has no offsets in it.

    Raises
    ------
    ConfigError
        If there is no layer to quantize, or the scheme gives bits to a module that no layer lies in.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    weights = constants_of(graph)
    chosen = [node for node in linear_nodes(made, scheme.group_size) if not inside(node, scheme.keep_fp32)]
    if not chosen:
        raise ConfigError("No linear layer is left to quantize: keep fewer modules in float32, or build it in fp32.")
    if unknown := [name for name in scheme.module_bits if not any(inside(node, (name,)) for node in chosen)]:
        raise ConfigError(f"weight_bits names no module with a layer to quantize: {', '.join(unknown)}.")
    makers = makers_of(graph)
    outlier_layer = next((node.name for node in chosen if _reads_product(node, makers, weights)), None)
    alike: dict[tuple[object, ...], list[tuple[onnx.NodeProto, Blocks]]] = defaultdict(list)
    base = "" if folder is None else str(folder)
    for node in chosen:
        name, weight = module_of(node), torch.tensor(numpy_helper.to_array(weights[node.input[1]], base))
        bits = bits_for(name, scheme.bits, scheme.module_bits)
        integers = IntegerFormat(bits, scheme.group_size, bfloat16_scales=True)
        blocks = as_stored(weight, integers) or round_weight(weight, integers, scheme.rounding, hessians.get(name))
        kind = (node.input[0], bits, blocks.has_float16_scales, blocks.offsets is None, node.name == outlier_layer)
        alike[kind].append((node, blocks))
    nodes: dict[str, list[onnx.NodeProto]] = {node.name: [] for node in chosen}
    casts: list[onnx.NodeProto] = []
    for layers in alike.values():
        first = layers[0][0].name
        bits = _FLOAT if first == outlier_layer else scheme.activation_bits
        cast, nodes[first] = _product(graph, layers, bits)
        casts += cast
    rest = [*casts, *(made for node in graph.node for made in nodes.get(node.name, [node]))]
    del graph.node[:]
    graph.node.extend(rest)
    drop_unused(graph)
    if not any(opset.domain == _DOMAIN for opset in made.opset_import):
        made.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return made


def _product(
    graph: onnx.GraphProto, layers: Sequence[tuple[onnx.NodeProto, Blocks]], activation_bits: int
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Store the weights of layers with one input as one matrix; return casts of its scales, and the product's nodes."""
    accuracy = _FLOAT32_ACTIVATIONS if activation_bits == _FLOAT else _INT8_ACTIVATIONS
    all_of, made = [node for node, _ in layers], [blocks for _, blocks in layers]
    blocks = Blocks(torch.cat([one.levels for one in made]), torch.cat([one.scales for one in made]), made[0].bits)
    rows, columns = blocks.levels.shape
    name, outputs = JOINED.join(node.name for node in all_of), [node.output[0] for node in all_of]
    levels, scales, whole = f"{name}.levels", f"{name}.scales", f"{name}.whole"
    size = blocks.group_size
    packs = packed(blocks).reshape(rows, -1, size * blocks.bits // 8)
    steps = blocks.scales.numpy().reshape(-1)
    graph.initializer.append(numpy_helper.from_array(packs, levels))
    casts, splits = [], []
    if blocks.has_float16_scales:
        # The operator needs scales of its input's type: ONNX Runtime folds the cast once, when it loads the model.
        graph.initializer.append(numpy_helper.from_array(steps.astype(np.float16), f"{scales}.short"))
        casts = [helper.make_node(_CAST, [f"{scales}.short"], [scales], name=f"{scales}.cast", to=TensorProto.FLOAT)]
    else:
        graph.initializer.append(numpy_helper.from_array(steps, scales))
    if len(layers) > 1:
        parts = np.array([one.levels.shape[0] for one in made], np.int64)
        graph.initializer.append(numpy_helper.from_array(parts, f"{name}.parts"))
        splits = [helper.make_node("Split", [whole, f"{name}.parts"], outputs, name=f"{name}.split", axis=-1)]
        outputs = [whole]
    facts = {"K": columns, "N": rows, "bits": blocks.bits, "block_size": size, "accuracy_level": accuracy}
    read, (result, *others) = all_of[0].input[0], outputs
    added: list[onnx.NodeProto] = []
    if made[0].offsets is not None:
        offsets = torch.cat([one.offsets for one in made if one.offsets is not None])
        cast, added = _offsets(graph, name, read, result, offsets, size)
        casts, result = [*casts, cast], f"{name}.levels_alone"
    before, after = list[onnx.NodeProto](), list[onnx.NodeProto]()
    if activation_bits == _WIDE:
        before, after, read, result = _in_two_parts(graph, name, read, result, columns, size)
    product = helper.make_node(_OPERATOR, [read, levels, scales], [result, *others], name=name, domain=_DOMAIN, **facts)
    product.metadata_props.extend(all_of[0].metadata_props)
    return casts, [*before, product, *after, *added, *splits]


def _in_two_parts(
    graph: onnx.GraphProto, product: str, read: str, result: str, width: int, size: int
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto], str, str]:
    """Return what splits an input for a product, what adds the two halves of its result, and the names between.

    The first half of the rows is the input rounded to INT8, which the product's own rounding leaves as it is. The
    second is what that left, rounded to INT8 by the product. The weights, which take the time, are read once for both.
    """

    def own(name: str) -> str:
        return f"{product}.{name}"

    rounding = _rounded_activations(graph, read, own("rounding"), width, size)
    rounded, left, rows, both = rounding[-1].output[0], own("left"), own("rows"), own("both")
    halves = [own("of_rounded"), own("of_left")]
    before = [
        *rounding,
        helper.make_node("Sub", [read, rounded], [left], name=left),
        helper.make_node("Concat", [rounded, left], [rows], name=rows, axis=0),
    ]
    after = [
        helper.make_node("Split", [both], halves, name=own("halves"), axis=0, num_outputs=2),
        helper.make_node("Add", halves, [result], name=own("sum")),
    ]
    return before, after, rows, both


def _offsets(
    graph: onnx.GraphProto, product: str, read: str, output: str, offsets: Tensor, size: int
) -> tuple[onnx.NodeProto, list[onnx.NodeProto]]:
    """Return the cast of offsets ``(N, groups)``, and the nodes that add their products with sums of inputs."""

    def own(name: str) -> str:
        return f"{product}.{name}"

    shape = np.array([-1, offsets.shape[1], size], np.int64)
    for name, value in (
        ("offsets.short", offsets.T.contiguous().numpy().astype(np.float16)),
        ("groups", shape),
        ("within", np.array([2], np.int64)),
    ):
        graph.initializer.append(numpy_helper.from_array(value, own(name)))
    cast = helper.make_node(
        _CAST, [own("offsets.short")], [own("offsets")], name=own("offsets.cast"), to=TensorProto.FLOAT
    )
    grouped, sums = own("grouped_inputs"), own("sums")
    return cast, [
        helper.make_node("Reshape", [read, own("groups")], [grouped], name=grouped),
        helper.make_node("ReduceSum", [grouped, own("within")], [sums], name=sums, keepdims=0),
        helper.make_node("Gemm", [sums, own("offsets"), own("levels_alone")], [output], name=f"{product}{OFFSETS}"),
    ]


def _reads_product(
    node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]
) -> bool:
    """Whether a layer's input is the product of two activations, as in a gated feed-forward network.

    The first such layer of a language model produces its few massive activations (Sun et al., COLM 2024) from inputs
    with outliers far beyond the rest of their group: INT8 activations in this one layer cost the shipped decoder 7 dB.
    The other gated layers lose nothing, and in float32 would take half as much time again.
    """
    maker = makers.get(node.input[0])
    return maker is not None and maker.op_type == "Mul" and not constants.keys() & set(maker.input)


def decoded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the fake-quantized model: float32 products of dequantized weights in place of every ``MatMulNBits``.

    It is the reference that ONNX Runtime's own kernels are compared with, so its weights are read back from the packed
    levels, not from what they were packed from. Where a product is one of integers, its input is rounded as the kernels
    for x86-64 round it: in groups of as many values as share a scale of the weights, symmetric, to INT8.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    matrices = matrices_of(model)
    constants = {tensor.name for tensor in made.graph.initializer}
    casts = {n.name for n in made.graph.node if n.op_type == _CAST and n.input[0] in constants}
    nodes: list[onnx.NodeProto] = []
    for node in made.graph.node:
        if node.op_type != _OPERATOR:
            nodes.append(node)
            continue
        facts, read, name = {a.name: a.i for a in node.attribute}, node.input[0], f"{node.name}.weight"
        if facts["accuracy_level"] == _INT8_ACTIVATIONS:
            rounding = _rounded_activations(made.graph, read, node.name, facts["K"], facts["block_size"])
            nodes += rounding
            read = rounding[-1].output[0]
        made.graph.initializer.append(numpy_helper.from_array(matrices[node.name].T.copy(), name))
        nodes.append(helper.make_node("MatMul", [read, name], list(node.output), name=node.name))
    used = {name for node in nodes for name in node.input}
    left = [node for node in nodes if node.name not in casts or node.output[0] in used]
    del made.graph.node[:]
    made.graph.node.extend(left)
    drop_unused(made.graph)
    return made


def _rounded_activations(
    graph: onnx.GraphProto, read: str, product: str, width: int, group_size: int
) -> list[onnx.NodeProto]:
    """Return nodes that round a value to INT8 in groups along its last axis; their constants go into the graph."""

    def own(name: str) -> str:
        return f"{product}.{name}"

    constants = {
        "groups": np.array([-1, width // group_size, group_size], np.int64),
        "axis": np.array([2], np.int64),
        "top": np.array(127, np.float32),
        # A group of zeros stays one.
        "least": np.array(np.finfo(np.float32).tiny, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, own(name)) for name, value in constants.items())
    grouped, step = own("grouped"), own("step")
    steps = (
        ("Shape", [read], own("shape")),
        ("Reshape", [read, own("groups")], grouped),
        ("Abs", [grouped], own("size")),
        ("ReduceMax", [own("size"), own("axis")], own("largest")),
        ("Div", [own("largest"), own("top")], own("exact")),
        ("Max", [own("exact"), own("least")], step),
        ("Div", [grouped, step], own("quotient")),
        ("Round", [own("quotient")], own("level")),
        ("Mul", [own("level"), step], own("value")),
        ("Reshape", [own("value"), own("shape")], own("rounded")),
    )
    return [helper.make_node(operator, inputs, [output], name=output) for operator, inputs, output in steps]


def matrices_of(model: onnx.ModelProto) -> dict[str, FloatArray]:
    """Return the dequantized weights of every ``MatMulNBits``, ``(N, K)``, float32, by its node's name.

    Levels are stored as unsigned integers around the middle, which is the operator's default zero point.
    """
    products = [node for node in model.graph.node if node.op_type == _OPERATOR]
    read = {name for node in products for name in node.input[1:3]}
    constants = constants_of(model.graph)
    casts = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == _CAST and n.input[0] in constants}
    stored = {name: numpy_helper.to_array(constants[casts.get(name, name)]) for name in read}
    stored |= {name: stored[name].astype(np.float32) for name in read & casts.keys()}
    made = {}
    for node in products:
        facts = {a.name: a.i for a in node.attribute}
        levels = unpacked(stored[node.input[1]].reshape(facts["N"], -1), facts["bits"])
        steps = np.repeat(stored[node.input[2]].reshape(facts["N"], -1), facts["block_size"], 1)
        made[node.name] = (levels.astype(np.float32) * steps)[:, : facts["K"]]
    return made


def linear_nodes(model: onnx.ModelProto, group_size: int = GROUP_SIZE) -> list[onnx.NodeProto]:
    """Return the nodes that are quantized: linear layers without bias, with constant weights of whole groups."""
    weights = constants_of(model.graph)
    return [node for node in model.graph.node if _is_linear(node, weights, group_size)]


def _is_linear(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto], group_size: int) -> bool:
    """Whether a node is ``x · Wᵀ`` with a constant ``W``, as torch exports linear layers without bias."""
    if node.op_type != "Gemm" or len([name for name in node.input if name]) != 2 or node.input[1] not in weights:
        return False
    attributes = {a.name: a for a in node.attribute}
    scaled = "alpha" in attributes and attributes["alpha"].f != 1
    transposed = "transA" in attributes and attributes["transA"].i
    if scaled or transposed or "transB" not in attributes or attributes["transB"].i != 1:
        return False
    return bool(weights[node.input[1]].dims[1] % group_size == 0)
