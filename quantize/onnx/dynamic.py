"""Dynamic INT8 quantization of ONNX models for ONNX Runtime: activation ranges are measured at run time."""

import tempfile
from pathlib import Path
from typing import Final

import onnx
from onnx import NodeProto, TensorProto, helper
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

_PRODUCTS: Final = ("Gemm", "MatMul")
_WHOLE: Final = "DynamicQuantizeMatMul"
_DOMAIN: Final = "com.microsoft"


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
    whole: dict[str, NodeProto] = {}
    for node in graph.node:
        scaled = only_reader(only_reader(node, "Cast", readers), "Mul", readers)
        if node.op_type != "MatMulInteger" or scaled is None:
            continue
        rounded, scales = makers[node.input[0]], makers[scaled.input[1]]
        # Weights are symmetric: their zero points, which are left out, are zeros.
        inputs = [rounded.input[0], node.input[1], scales.input[1]]
        whole[scaled.name] = helper.make_node(_WHOLE, inputs, scaled.output, name=scaled.name, domain=_DOMAIN)
    keep_needed(graph, [whole.get(node.name, node) for node in graph.node])
    if not any(opset.domain == _DOMAIN for opset in made.opset_import):
        made.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return made
