"""Dynamic INT8 quantization of ONNX models for ONNX Runtime: activation ranges are measured at run time."""

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from pocketcrafter.quantize.config import DynamicInt8
from pocketcrafter.quantize.onnx.graph import (
    constants_of,
    inside,
    keep_needed,
    makers_of,
    only_reader,
    readers_of,
    strip_metadata,
)
from pocketcrafter.runtime.errors import ConfigError

TRANSPOSED_SUFFIX: Final = "_MatMul"
"""What ONNX Runtime appends to the name of a layer whose weight it transposes."""

WHOLE_PRODUCT: Final = "DynamicQuantizeMatMul"
"""A product of float activations, which it rounds itself, with INT8 weights."""

_PRODUCTS: Final = ("Gemm", "MatMul")
_DOMAIN: Final = "com.microsoft"
_LARGEST: Final = 8 << 20
"""Most weights of one product."""


def quantize_dynamic_int8(model: onnx.ModelProto, scheme: DynamicInt8) -> onnx.ModelProto:
    """Quantize the products with constant weights of an ONNX model: weights INT8 by output channel, activations uint8.

    Convolutions stay float32: ONNX Runtime's dynamic INT8 convolution has one scale for all of a layer's channels.

    Parameters
    ----------
    model
        Written by ``torch.onnx.export(..., dynamo=True)``; not modified.
    scheme
        INT8 weights, and modules that stay float32.

    Returns
    -------
    onnx.ModelProto
        Without the exporter's metadata.

    Raises
    ------
    ConfigError
        If nothing is left to quantize, or the scheme asks for INT4 weights.
    """
    if {scheme.bits, *scheme.module_bits.values()} != {8}:
        raise ConfigError("ONNX Runtime multiplies INT8 activations by INT8 weights alone: take INT4 weights as `w4`.")
    source = onnx.ModelProto()
    source.CopyFrom(model)
    weights = constants_of(source.graph)
    # A matrix with a single row or column is a mean, as of squares in a normalization.
    matrices = {name for name, tensor in weights.items() if min(tensor.dims, default=0) > 1}
    chosen = [
        node.name
        for node in source.graph.node
        if node.op_type in _PRODUCTS and node.input[1] in matrices and not inside(node, scheme.keep_fp32)
    ]
    if not chosen:
        raise ConfigError("No linear layer is left to quantize; keep fewer modules in float32, or build int8 or fp32.")
    # ONNX Runtime transposes weights without updating their recorded shapes, and then selects layers by new names.
    del source.graph.value_info[:]
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-dynamic-") as folder:
        stored, made = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(source, stored)
        names = [*chosen, *(f"{name}{TRANSPOSED_SUFFIX}" for name in chosen)]
        quantize_dynamic(
            stored,
            made,
            nodes_to_quantize=names,
            per_channel=True,
            weight_type=QuantType.QInt8,
            # Shape inference does not know ONNX Runtime's own operators, and inputs of unknown types are left out.
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
        quantized = onnx.load(made)
    strip_metadata(quantized)
    return quantized


def with_whole_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with one ``DynamicQuantizeMatMul`` for each product with its rounding of activations.

    ONNX Runtime fuses them itself where nothing else reads the rounded activations; where several products do, as of
    queries, keys and values, it keeps the weights in memory twice.

    Parameters
    ----------
    model
        As :func:`quantize_dynamic_int8` makes it; not modified.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    makers, readers = makers_of(graph), readers_of(graph)
    whole: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        scaled = only_reader(only_reader(node, "Cast", readers), "Mul", readers)
        if node.op_type != "MatMulInteger" or scaled is None:
            continue
        rounded, scales = makers[node.input[0]], makers[scaled.input[1]]
        # Weights are symmetric: their zero points, which are left out, are zeros.
        inputs = [rounded.input[0], node.input[1], scales.input[1]]
        product = helper.make_node(WHOLE_PRODUCT, inputs, scaled.output, name=scaled.name, domain=_DOMAIN)
        whole[scaled.name] = _in_parts(graph, product)
    keep_needed(graph, [made for node in graph.node for made in whole.get(node.name, [node])])
    if not any(opset.domain == _DOMAIN for opset in made.opset_import):
        made.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return made


def _in_parts(graph: GraphProto, product: NodeProto) -> list[NodeProto]:
    """Return a product as several where it is large: as a session opens, a product's weights are in memory twice."""
    constants = constants_of(graph)
    weight, scales = (numpy_helper.to_array(constants[name]) for name in product.input[1:3])
    count = -(-weight.size // _LARGEST)
    if count == 1 or scales.shape != weight.shape[1:]:
        return [product]
    nodes = []
    for index, (columns, steps) in enumerate(
        zip(np.array_split(weight, count, 1), np.array_split(scales, count), strict=True)
    ):
        inputs = [product.input[0], f"{product.name}.weight_{index}", f"{product.name}.scales_{index}"]
        graph.initializer.extend(map(numpy_helper.from_array, (columns.copy(), steps.copy()), inputs[1:]))
        part = f"{product.name}.part_{index}"
        nodes.append(helper.make_node(WHOLE_PRODUCT, inputs, [part], name=part, domain=_DOMAIN))
    parts = [node.output[0] for node in nodes]
    return [*nodes, helper.make_node("Concat", parts, product.output, name=f"{product.name}.joined", axis=-1)]
