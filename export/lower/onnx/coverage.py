"""Reads from ONNX Runtime's optimized graph which layers really run on INT8 kernels."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx
import onnxruntime as ort

from pocketcrafter.export.lower.onnx.attention import ATTENTION, POSITIONS
from pocketcrafter.quantize.onnx.dynamic import TRANSPOSED_SUFFIX
from pocketcrafter.quantize.onnx.graph import WEIGHTED, module_of
from pocketcrafter.quantize.onnx.matmul_nbits import OFFSETS
from pocketcrafter.runtime.backends.onnxruntime import open_session, write_options
from pocketcrafter.runtime.bundle.results import Coverage, Fallback
from pocketcrafter.runtime.errors import ConfigError

_FLOAT_KERNELS: Final = WEIGHTED | {"FusedConv", "FusedGemm", "FusedMatMul"}
_REASON_CHARS: Final = 500


def optimized_graph(path: Path, folder: Path) -> onnx.ModelProto:
    """Return the graph that ONNX Runtime makes of a model, before it lays memory out for this machine's CPU.

    Parameters
    ----------
    path
        The model.
    folder
        Where the graph is written for a while; its weights, which a file need not hold in float32, stay there apart.
    """
    made, apart = folder / "optimized.onnx", folder / "optimized.weights"
    options = write_options(made, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", apart.name)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    open_session(path, options)
    graph = onnx.load(made, load_external_data=False)
    apart.unlink(missing_ok=True)
    return graph


def onnx_coverage(exported: onnx.ModelProto, optimized: onnx.ModelProto) -> Coverage:
    """Compare the exported model with what ONNX Runtime made of its artifact.

    Parameters
    ----------
    exported
        The float32 model with its shapes and the exporter's metadata.
    optimized
        The graph that ONNX Runtime runs. All its nodes run on the CPU provider, the only one that is asked for.

    Returns
    -------
    Coverage
        A layer counts as delegated where it runs as it was meant to: on an INT8 kernel, or in float32 where that was
        asked for. In an INT8 artifact float32 layers are listed as fallbacks all the same: allowed where they were
        asked for, and not allowed where ONNX Runtime found no INT8 kernel for a quantized layer. Products of two
        activations, as attention has them, are never quantized, though their operands may come from INT8 layers.
    """
    nodes = optimized.graph.node
    layers = {node.name: node for node in exported.graph.node if node.op_type in WEIGHTED}
    constants = {tensor.name for tensor in exported.graph.initializer}
    dequantized = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    missed: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    kept: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    products: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in nodes:
        if node.op_type in _FLOAT_KERNELS and not node.name.endswith(OFFSETS):
            # Fusions put words in front of the name of the layer that they fuse, and their own names behind it.
            layer = layers[node.name.split(" ")[-1].split("/")[0].removesuffix(TRANSPOSED_SUFFIX)]
            of_weights = not constants.isdisjoint(layer.input[:2])
            found = (missed if node.input[1] in dequantized else kept) if of_weights else products
            found[node.op_type].append(layer)
    shapes = shapes_of(exported)
    total = total_macs(exported)
    lost = sum(_macs(node, shapes) for found in missed.values() for node in found)
    quantized = any(node.op_type == "QuantizeLinear" for node in nodes)
    failed = sum(len(found) for found in missed.values())
    return Coverage(
        macs_total=total,
        macs_delegated=total - lost,
        delegated_ops=len(nodes) - failed,
        subgraphs=1,
        fallbacks=(
            *(_fallback(op, found, _NO_KERNEL, allowed=False) for op, found in sorted(missed.items())),
            *(
                _fallback(op, found, why, allowed=True)
                for chosen, why in ((kept, _KEPT), (products, _PRODUCT))
                for op, found in sorted(chosen.items())
                if quantized
            ),
        ),
    )


def total_macs(exported: onnx.ModelProto) -> int:
    """Return the multiply-accumulates of all layers with weights, and of attention."""
    shapes = shapes_of(exported)
    return sum(_macs(node, shapes) for node in exported.graph.node if node.op_type in WEIGHTED | {ATTENTION})


_NO_KERNEL: Final = (
    "quantized, but ONNX Runtime has no INT8 kernel that fits and runs it in float32; keep it in float32 "
    "(keep_fp32), or quantize what reads its output as well"
)
_KEPT: Final = "float32 as asked"
_PRODUCT: Final = "a product of two activations, which quantization leaves in float32"


def _fallback(op: str, layers: Sequence[onnx.NodeProto], why: str, *, allowed: bool) -> Fallback:
    where = dict.fromkeys(module_of(layer) or layer.name for layer in layers)
    return Fallback(op=op, count=len(layers), reason=f"{why}: {', '.join(where)}"[:_REASON_CHARS], allowed=allowed)


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shape of everything that a model of static shapes names, its weights among them."""
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
    return shapes


def attention_macs(held: int, result: Sequence[int]) -> int:
    """Return the multiply-accumulates of one attention: scores and their products with values, over full caches.

    Parameters
    ----------
    held
        Positions that its caches hold.
    result
        Its first output's shape, ``(1, positions, width)``.
    """
    return 2 * math.prod(result) * (held + result[1])


def _macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    if absent := [name for name in (*node.input[:2], node.output[0]) if name not in shapes]:
        raise ConfigError(f"{node.name}: the exported model has no shape for {', '.join(absent)}.")
    data, weight, result = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == ATTENTION:
        return attention_macs(sum(int(entry.value) for entry in node.metadata_props if entry.key == POSITIONS), result)
    if node.op_type == "Conv":
        return math.prod(result) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(data) * math.prod(weight[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(result) * data[-2 if transposed else -1]
