"""Weight-only quantization of ONNX models for ONNX Runtime's MatMulNBits: INT4 or INT8 in blocks, float activations."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from pocketcrafter.quantize.qdq import inside
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError

BLOCK: Final = 32
"""Weights along the input axis that share a scale."""

_OPERATOR: Final = "MatMulNBits"
_DOMAIN: Final = "com.microsoft"
_FULL_PRECISION: Final = 1
"""ONNX Runtime's accuracy level for products in float32; others round activations to INT8 on some machines."""

_SHRINKS: Final = np.linspace(1.0, 0.8, 9, dtype=np.float32)
"""Shares of the largest magnitude that a scale may span: clipping an outlier can cost less than coarse steps."""


def quantize_linears(model: onnx.ModelProto, bits: int, keep_fp32: tuple[str, ...] = ()) -> onnx.ModelProto:
    """Quantize the weights of linear layers; each block gets the scale with the least squared error.

    Parameters
    ----------
    model
        A model that ``torch.onnx.export(..., dynamo=True)`` wrote; left as it is.
    bits
        4 or 8.
    keep_fp32
        Qualified names of torch modules whose weights stay float32.

    Returns
    -------
    onnx.ModelProto
        The model with ``MatMulNBits`` in place of every linear layer without bias whose input is a multiple of `BLOCK`.

    Raises
    ------
    ConfigError
        If there is no layer to quantize.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    chosen = [n for n in graph.node if _is_linear(n, weights) and not inside(n, keep_fp32)]
    if not chosen:
        raise ConfigError("No linear layer is left to quantize: keep fewer modules in float32, or build it in fp32.")
    for node in chosen:
        weight = numpy_helper.to_array(weights[node.input[1]])
        levels, scales = _rounded(weight, bits)
        stored = {f"{node.name}.levels": _packed(levels, bits), f"{node.name}.scales": scales.reshape(-1)}
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in stored.items())
        rows, columns = weight.shape
        replacement = helper.make_node(
            _OPERATOR,
            [node.input[0], *stored],
            list(node.output),
            name=node.name,
            domain=_DOMAIN,
            K=columns,
            N=rows,
            bits=bits,
            block_size=BLOCK,
            accuracy_level=_FULL_PRECISION,
        )
        replacement.metadata_props.extend(node.metadata_props)
        node.CopyFrom(replacement)
    _drop_unused(graph)
    if not any(opset.domain == _DOMAIN for opset in made.opset_import):
        made.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return made


def decoded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an equal model of plain float32 products: its weights read back from their blocks, independently.

    What ONNX Runtime computes from the quantized model is held against this one.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type != _OPERATOR:
            continue
        facts = {a.name: a.i for a in node.attribute}
        levels = stored[node.input[1]].reshape(facts["N"], -1)
        if facts["bits"] == 4:
            levels = np.stack([levels & 15, levels >> 4], -1).reshape(facts["N"], -1)
        steps = np.repeat(stored[node.input[2]].reshape(facts["N"], -1), facts["block_size"], 1)
        weight = (levels.astype(np.float32) - 2 ** (facts["bits"] - 1)) * steps
        name = f"{node.name}.weight"
        made.graph.initializer.append(numpy_helper.from_array(weight[:, : facts["K"]].T.copy(), name))
        node.CopyFrom(helper.make_node("MatMul", [node.input[0], name], list(node.output), name=node.name))
    _drop_unused(made.graph)
    return made


def _is_linear(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a node is ``x · Wᵀ`` with a constant ``W`` of whole blocks, as layers without bias are exported."""
    if node.op_type != "Gemm" or len([name for name in node.input if name]) != 2 or node.input[1] not in weights:
        return False
    facts = {a.name: a for a in node.attribute}
    plain = ("alpha" not in facts or facts["alpha"].f == 1) and not ("transA" in facts and facts["transA"].i)
    return plain and "transB" in facts and facts["transB"].i == 1 and weights[node.input[1]].dims[1] % BLOCK == 0


def _rounded(weight: FloatArray, bits: int) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """Return levels ``(N, K)`` around the middle level, and scales ``(N, K / BLOCK)``."""
    middle = 2 ** (bits - 1)
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(2, keepdims=True), 2)
    # The largest magnitude becomes the lowest level, which is one further from the middle than the highest.
    widest = np.where(extreme == 0, 1.0, extreme / -middle)
    best, least = np.zeros_like(widest), np.full(widest.shape, np.inf)
    for shrink in _SHRINKS:
        scale = (widest * shrink).astype(np.float32)
        steps = np.clip(np.round(blocks / scale), -middle, middle - 1)
        error = ((steps * scale - blocks) ** 2).sum(2, keepdims=True)
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    levels = np.clip(np.round(blocks / best), -middle, middle - 1) + middle
    return levels.reshape(weight.shape).astype(np.uint8), best[:, :, 0].astype(np.float32)


def _packed(levels: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Return levels in MatMulNBits' layout ``(N, K / BLOCK, BLOCK · bits / 8)``; of two in a byte the first is low."""
    if bits == 4:
        levels = (levels[:, ::2] | levels[:, 1::2] << 4).astype(np.uint8)
    return levels.reshape(levels.shape[0], -1, BLOCK * bits // 8)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
