"""INT8 products on ONNX Runtime whose activation ranges are measured as they come: nothing is calibrated."""

import tempfile
from pathlib import Path
from typing import Final

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from pocketcrafter.quantize.onnx.graph import inside, save_stripped
from pocketcrafter.runtime.errors import ConfigError

TURNED: Final = "_MatMul"
"""What ONNX Runtime puts behind the name of a layer whose weight it turns over."""

_PRODUCTS: Final = ("Gemm", "MatMul")


def quantize_onnx_dynamic(fp32_onnx: Path, out: Path, *, keep_fp32: tuple[str, ...] = ()) -> None:
    """Quantize the products with constant weights of an ONNX model: weights INT8 by output channel, activations uint8.

    Convolutions stay float32: ONNX Runtime's dynamic INT8 convolution has one scale for all of a layer's channels.

    Parameters
    ----------
    fp32_onnx
        A model that ``torch.onnx.export(..., dynamo=True)`` wrote.
    out
        Where the quantized model goes, without the exporter's metadata; written under a temporary name first.
    keep_fp32
        Qualified names of torch modules that stay float32 with everything below them.

    Raises
    ------
    ConfigError
        If nothing is left to quantize.
    """
    model = onnx.load(fp32_onnx)
    constants = {tensor.name for tensor in model.graph.initializer}
    chosen = [
        node.name
        for node in model.graph.node
        if node.op_type in _PRODUCTS and node.input[1] in constants and not inside(node, keep_fp32)
    ]
    if not chosen:
        raise ConfigError(
            f"{fp32_onnx}: no linear layer is left to quantize; keep fewer modules in float32, or build int8 or fp32."
        )
    # ONNX Runtime turns transposed weights over, but not their noted shapes, and selects layers by their new names.
    del model.graph.value_info[:]
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        bare, temporary = Path(folder) / "bare.onnx", Path(folder) / out.name
        onnx.save(model, bare)
        names = [*chosen, *(f"{name}{TURNED}" for name in chosen)]
        quantize_dynamic(bare, temporary, nodes_to_quantize=names, per_channel=True, weight_type=QuantType.QInt8)
        save_stripped(onnx.load(temporary), out)
