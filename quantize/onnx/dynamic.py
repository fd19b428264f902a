"""Dynamic INT8 quantization of ONNX models for ONNX Runtime: activation ranges are measured at run time."""

import tempfile
from pathlib import Path
from typing import Final

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from pocketcrafter.quantize.config import DynamicInt8
from pocketcrafter.quantize.onnx.graph import inside, strip_metadata
from pocketcrafter.runtime.errors import ConfigError

TRANSPOSED_SUFFIX: Final = "_MatMul"
"""What ONNX Runtime appends to the name of a layer whose weight it transposes."""

_PRODUCTS: Final = ("Gemm", "MatMul")


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
    constants = {tensor.name for tensor in source.graph.initializer}
    chosen = [
        node.name
        for node in source.graph.node
        if node.op_type in _PRODUCTS and node.input[1] in constants and not inside(node, scheme.keep_fp32)
    ]
    if not chosen:
        raise ConfigError("No linear layer is left to quantize; keep fewer modules in float32, or build int8 or fp32.")
    # ONNX Runtime transposes weights without updating their recorded shapes, and then selects layers by new names.
    del source.graph.value_info[:]
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-dynamic-") as folder:
        stored, made = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(source, stored)
        names = [*chosen, *(f"{name}{TRANSPOSED_SUFFIX}" for name in chosen)]
        quantize_dynamic(stored, made, nodes_to_quantize=names, per_channel=True, weight_type=QuantType.QInt8)
        quantized = onnx.load(made)
    strip_metadata(quantized)
    return quantized
