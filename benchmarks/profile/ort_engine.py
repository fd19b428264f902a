"""ONNX Runtime's own profile of a model, its nodes led back to the layers that they were exported from."""

import itertools
import json
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime as ort

from pocketcrafter.benchmarks.profile.engine import Profiled, Subject
from pocketcrafter.benchmarks.profile.layers import Layer, LayerKind
from pocketcrafter.benchmarks.profile.results import OpProfile
from pocketcrafter.quantize.onnx.matmul_nbits import JOINED
from pocketcrafter.runtime.backends.ort_sessions import open_session, run_options
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import BackendError

_KERNEL: Final = "_kernel_time"
_RUN: Final = "model_run"
_ADDED: Final = re.compile(r"(_token_\d+|_nchwc)+$")
"""What ONNX Runtime's optimizer adds to names."""

_CONVOLUTIONS: Final = frozenset({"conv2d", "conv_transpose2d"})
_PRODUCTS: Final = frozenset({"linear", "mm", "bmm", "matmul"})
_FUSED_INTO: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("Conv", "FusedConv", "QLinearConv", "ConvTranspose"), _CONVOLUTIONS),
    **dict.fromkeys(("MatMul", "FusedMatMul", "Gemm", "FusedGemm", "QGemm", "MatMulNBits"), _PRODUCTS),
}
"""Nodes that swallow what follows them, and the torch operators that they come from."""

_MOVES: Final = frozenset(
    {"Reshape", "Transpose", "Concat", "Slice", "Split", "DepthToSpace", "SpaceToDepth", "Gather", "Squeeze",
     "Unsqueeze", "Expand", "Pad", "MaxPool", "Identity", "Resize", "Cast"}
)  # fmt: skip
"""Operators that move values, which costs the same in every precision."""

_QUANTIZED: Final = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


def profile_onnx(subject: Subject) -> Profiled:
    """Run a model with ONNX Runtime's profiler on.

    Raises
    ------
    BackendError
        If ONNX Runtime cannot run it.
    """
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-profile-") as folder:
        options = run_options(subject.threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        try:
            session = open_session(subject.artifact, options)
            for _ in range(subject.runs + 1):
                session.run(None, dict(subject.inputs))
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise BackendError(f"{subject.artifact.name}: ONNX Runtime cannot profile it: {error}") from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        graph = onnx.load(Path(folder) / "optimized.onnx").graph
    return Profiled(
        ops=_ops(events, graph, subject),
        total_ms=statistics.median([e["dur"] / 1e3 for e in events if e["name"] == _RUN][1:]),
        engine=f"ONNX Runtime {ort.__version__}, CPU, its own profiler",
        runs=subject.runs,
    )


def _ops(events: Sequence[Mapping[str, Any]], graph: onnx.GraphProto, subject: Subject) -> tuple[OpProfile, ...]:
    taken: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            taken[event["name"].removesuffix(_KERNEL)].append(event)
    known = {node.name: _layers_of(node, subject.layers) for node in graph.node}
    ops, last = [], ""
    for name, found in sorted(taken.items(), key=lambda item: item[1][-1]["ts"]):
        layers = known.get(name, [])
        last = JOINED.join(layer.name for layer in layers) or last
        kernel = found[-1]["args"]["op_name"]
        computes = layers if kernel in _FUSED_INTO else []  # others only share a name: they reorder its values
        ops.append(
            OpProfile(
                op=kernel,
                layer=last,
                exact=bool(layers),
                kind=computes[0].kind if computes else LayerKind.OTHER,
                macs=sum(layer.macs for layer in computes),
                ms=statistics.median([e["dur"] / 1e3 for e in found][1:]),
                inside=subject.precision is not Precision.INT8 or _is_int8(kernel),
            )
        )
    return tuple(ops)


def _layers_of(node: onnx.NodeProto, layers: Sequence[Layer]) -> list[Layer]:
    """Find a node's layer, or those that are one product, by their weights' name or by one of the torch graph's.

    A fused node has the name or the output of the last operator that it swallowed: its layer lies just before.
    """
    if JOINED in node.name:
        parts = [onnx.NodeProto(name=name, op_type=node.op_type) for name in node.name.split(JOINED)]
        return [layer for part in parts for layer in _layers_of(part, layers)]
    for layer in layers:
        if layer.macs and layer.module and any(i.startswith(f"{layer.module}.weight") for i in node.input):
            return [layer]
    names = {_ADDED.sub("", name).removeprefix("node_") for name in (node.name, *node.output)}
    at = next((number for number, layer in enumerate(layers) if layer.node in names), None)
    if at is None or node.op_type not in _FUSED_INTO:
        return [] if at is None else [layers[at]]
    swallowed = (layer for layer in reversed(layers[: at + 1]) if layer.op in _FUSED_INTO[node.op_type])
    return list(itertools.islice(swallowed, 1))


def _is_int8(kernel: str) -> bool:
    return kernel.startswith(("QLinear", "QGemm", "QAttention", "MatMulInteger")) or kernel in _MOVES | _QUANTIZED
