"""Profilers by engine: operators in running order with their times, led back to the layers they were lowered from."""

import csv
import itertools
import json
import math
import re
import statistics
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime as ort
import torch

from pocketcrafter.benchmarks.profile.layers import Layer, LayerKind
from pocketcrafter.benchmarks.profile.results import OpProfile
from pocketcrafter.export.lower.coreml.coverage import computing, macs_of_op, types_of
from pocketcrafter.export.lower.mil_interpreter import read_package
from pocketcrafter.export.lower.onnx.attention import ATTENTION
from pocketcrafter.export.lower.onnx.coverage import attention_macs
from pocketcrafter.quantize.onnx.matmul_nbits import JOINED
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.executorch import native_log
from pocketcrafter.runtime.backends.onnx_caches import CachesInPlace, has_parts
from pocketcrafter.runtime.backends.onnxruntime import open_session, run_options
from pocketcrafter.runtime.backends.qnn import run_qnn
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_KERNEL: Final = "_kernel_time"
_RUN: Final = "model_run"
_PRODUCT: Final = re.compile(r"MatMul|Gemm")
_ORT_ADDED: Final = re.compile(r"(_token_\d+|_nchwc)+$")
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

_EXECUTE: Final = "Execute"
_WHOLE: Final = frozenset({"DELEGATE_CALL", "Method::execute", "OPERATOR_CALL"})
_WEIGHTED: Final = re.compile(r"^(Fully Connected|Convolution|Deconvolution)\b")
_NUMBER: Final = re.compile(r" #\d+$")

_NODE: Final = re.compile(r"(?P<name>.*):OpId_\d+ \(cycles\)")
_QNN_ADDED: Final = re.compile(r"(_token_\d+)+(_\d+)?$")
"""What ONNX Runtime adds to the names of nodes that it makes for QNN."""

_MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class Subject:
    """A lowered network to be profiled on one set of inputs, and the layers that it was lowered from, in order."""

    artifact: Path
    spec: ComponentSpec
    precision: Precision
    inputs: Mapping[str, FloatArray]
    layers: Sequence[Layer]
    threads: int
    runs: int


@dataclass(frozen=True)
class Profiled:
    """What an engine said: operators in running order, the median of a whole run in ms, and what was timed how."""

    ops: tuple[OpProfile, ...]
    total_ms: float | None
    engine: str
    runs: int


Profile = Callable[[Subject], Profiled]
"""Raises `BackendError` where the engine fails."""


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
            run = CachesInPlace(session, subject.spec).run if has_parts(session) else partial(session.run, None)
            for _ in range(subject.runs + 1):
                run(dict(subject.inputs))
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise BackendError(f"{subject.artifact.name}: ONNX Runtime cannot profile it: {error}") from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        graph = onnx.load(Path(folder) / "optimized.onnx").graph
        stored = _filters(onnx.load(subject.artifact, load_external_data=False).graph)
    return Profiled(
        ops=_ort_ops(events, graph, stored, subject),
        total_ms=statistics.median([e["dur"] / 1e3 for e in events if e["name"] == _RUN][1:]),
        engine=f"ONNX Runtime {ort.__version__}, CPU, its own profiler",
        runs=subject.runs,
    )


def _ort_ops(
    events: Sequence[Mapping[str, Any]],
    graph: onnx.GraphProto,
    stored: Mapping[str, tuple[int, ...]],
    subject: Subject,
) -> tuple[OpProfile, ...]:
    taken: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            taken[event["name"].removesuffix(_KERNEL)].append(event)
    nodes = {node.name: node for node in graph.node}
    weights = _shapes(graph)
    known = {node.name: _layers_of(node, subject.layers) for node in graph.node}
    ops, last = [], ""
    for name, found in sorted(taken.items(), key=lambda item: item[1][-1]["ts"]):
        layers = known.get(name, [])
        last = JOINED.join(layer.name for layer in layers) or last
        kernel = found[-1]["args"]["op_name"]
        computes = layers if kernel in _FUSED_INTO else []  # others only share a name: they reorder its values
        if computes:
            kind, macs = computes[0].kind, sum(layer.macs for layer in computes)
        else:
            node = nodes.get(name)
            held = [weights[i] for i in node.input if i in weights] if node else []
            kind, macs = _counted(kernel, found[-1]["args"], node, held, stored.get(_ORT_ADDED.sub("", name)))
        if kernel == ATTENTION:
            result = _shape_in(found[-1]["args"].get("output_type_shape", ()))
            kind, macs = LayerKind.PRODUCT, attention_macs(subject.inputs["keys"].shape[2], result)
        ops.append(
            OpProfile(
                op=kernel,
                layer=last,
                exact=bool(layers),
                kind=kind,
                macs=macs,
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
    names = {_ORT_ADDED.sub("", name).removeprefix("node_") for name in (node.name, *node.output)}
    at = next((number for number, layer in enumerate(layers) if layer.node in names), None)
    if at is None or node.op_type not in _FUSED_INTO:
        return [] if at is None else [layers[at]]
    swallowed = (layer for layer in reversed(layers[: at + 1]) if layer.op in _FUSED_INTO[node.op_type])
    return list(itertools.islice(swallowed, 1))


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _filters(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Return the shape of convolutions' weights, by each node's name and what it and a function right after it yield.

    ONNX Runtime names a convolution in blocks of channels by the output of the function that it swallowed.
    """
    shapes, found = _shapes(graph), dict[str, tuple[int, ...]]()
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in shapes:
            found[node.name] = found[node.output[0]] = shapes[node.input[1]]
        elif len(node.output) == 1 and node.input and node.input[0] in found:
            found.setdefault(node.output[0], found[node.input[0]])
    return found


def _counted(
    kernel: str,
    run: Mapping[str, Any],
    node: onnx.NodeProto | None,
    held: Sequence[tuple[int, ...]],
    filters: tuple[int, ...] | None,
) -> tuple[LayerKind, int]:
    """Count a kernel's multiply-accumulates from the shapes it ran with, where its layer is not known.

    Parameters
    ----------
    kernel, run, node
        Its name, what the profiler noted of a run, and its node in the optimized graph.
    held
        Shapes of its weights as ONNX Runtime keeps them.
    filters
        Shape of a convolution's weights in the artifact: in blocks of channels (NCHWc), the last block is filled up.
    """
    data, result = (_shape_in(run.get(f"{end}_type_shape", ())) for end in ("input", "output"))
    if "Conv" in kernel and (kept := max((shape for shape in held if len(shape) > 2), key=len, default=None)):
        filters = filters or kept
        depthwise, pointwise = filters[1] == 1 and filters[0] > 1, math.prod(filters[2:]) == 1
        kind = LayerKind.DEPTHWISE if depthwise else LayerKind.POINTWISE if pointwise else LayerKind.CONVOLUTION
        # A transposed convolution spreads each input value; any other gathers for each output value.
        places = math.prod(data) if "Transpose" in kernel else math.prod(result) // kept[0] * filters[0]
        return kind, places * math.prod(filters[1:])
    if node is not None and _PRODUCT.search(kernel) and data and result:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        deep = attributes.get("K") or data[-2 if attributes.get("transA") else -1]
        return LayerKind.LINEAR if held else LayerKind.PRODUCT, math.prod(result) * deep
    return LayerKind.OTHER, 0


def _shape_in(tensors: Sequence[Mapping[str, Sequence[int]]]) -> tuple[int, ...]:
    """Return the shape of the first of a kernel's tensors, which the profiler lists as ``{type: shape}``."""
    return tuple(next(iter(tensors[0].values()))) if tensors else ()


def _is_int8(kernel: str) -> bool:
    return kernel.startswith(("QLinear", "QGemm", "QAttention", "MatMulInteger")) or kernel in _MOVES | _QUANTIZED


def profile_executorch(subject: Subject) -> Profiled:
    """Run a program with its event tracer on.

    Raises
    ------
    BackendError
        If ExecuTorch cannot run it.
    """
    from executorch.devtools import Inspector  # noqa: PLC0415 - slow, and only this needs it
    from executorch.extension.pybindings import portable_lib  # noqa: PLC0415
    from executorch.runtime import Runtime, Verification  # noqa: PLC0415

    with native_log():
        portable_lib._unsafe_reset_threadpool(subject.threads)
    tensors = [torch.tensor(array) for array in subject.inputs.values()]
    scratch = tempfile.TemporaryDirectory(prefix="pocketcrafter-profile-")
    with scratch as folder, warnings.catch_warnings(), native_log():
        warnings.simplefilter("ignore")  # tensors are not recorded, on purpose: it would take their size in memory
        trace = Path(folder) / "trace.etdp"
        try:
            program = Runtime.get().load_program(
                subject.artifact.read_bytes(), verification=Verification.Minimal, enable_etdump=True
            )
            method = program.load_method("forward")
            if method is None:
                raise BackendError(f"{subject.artifact.name}: the program has no method `forward`.")
            for _ in range(subject.runs + 1):
                method.execute(tensors)
            program.write_etdump_result_to_file(str(trace), str(Path(folder) / "tensors.bin"))
            blocks = Inspector(etdump_path=str(trace)).event_blocks
        except RuntimeError as error:
            raise BackendError(f"{subject.artifact.name}: ExecuTorch cannot profile it: {error}") from error
    events = [event for block in blocks if block.name == _EXECUTE for event in block.events]
    whole = [_median(e) for e in events if e.name == "Method::execute"]
    return Profiled(
        ops=tuple(_executorch_ops(events, subject.layers)),
        total_ms=whole[0] if whole else None,
        engine="ExecuTorch's event tracer, with XNNPACK's operators",
        runs=subject.runs,
    )


def _executorch_ops(events: Sequence[Any], layers: Sequence[Layer]) -> list[OpProfile]:
    kernels = [e for e in events if e.name not in _WHOLE]
    weighted = [layer for layer in layers if layer.macs and layer.weights]
    # XNNPACK keeps the order of the graph, and names nothing: as many weighted kernels as layers are those layers.
    matched = iter(weighted) if sum(bool(_WEIGHTED.match(e.name)) for e in kernels) == len(weighted) else iter(())
    ops, last = [], ""
    for event in kernels:
        layer = next(matched, None) if _WEIGHTED.match(event.name) else None
        last = layer.name if layer else last
        ops.append(
            OpProfile(
                op=_NUMBER.sub("", event.name),
                layer=last,
                exact=layer is not None,
                kind=layer.kind if layer else LayerKind.OTHER,
                macs=layer.macs if layer else 0,
                ms=_median(event),
                inside=bool(event.is_delegated_op),
            )
        )
    return ops


def _median(event: Any) -> float:  # noqa: ANN401 - untyped package
    taken = event.perf_data.raw
    return float(statistics.median(taken[1:] or taken))


def profile_coreml(subject: Subject) -> Profiled:
    """Count a package's operators.

    Raises
    ------
    BackendError
        If the package cannot be read.
    """
    function = read_package(subject.artifact).function()
    types = types_of(function)
    ops = []
    for op in computing(function):
        halves = [types[port.name].dtype.name == "fp16" for port in op.outputs if port.name in types]
        macs = macs_of_op(op, types)
        ops.append(
            OpProfile(
                op=op.kind,
                layer=op.layer,
                exact=True,
                kind=LayerKind.CONVOLUTION if "conv" in op.kind else LayerKind.LINEAR if macs else LayerKind.OTHER,
                macs=macs,
                ms=None,
                inside=all(halves),
            )
        )
    return Profiled(ops=tuple(ops), total_ms=None, engine="census of the MIL program, nothing was timed", runs=0)


def profile_qnn(subject: Subject) -> Profiled:
    """Run a context model once with QNN's detailed profiling.

    Raises
    ------
    BackendError
        If QNN cannot run it, or writes no profile.
    """
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-profile-") as folder:
        written = Path(folder) / "profile.csv"
        run_qnn(subject.artifact, [subject.inputs], profile=written)
        if not written.is_file() or written.stat().st_size > _MOST_BYTES:
            raise BackendError(f"{subject.artifact.name}: QNN wrote no profile that can be read.")
        ops = tuple(_qnn_ops(written, subject.layers))
    if not ops:
        raise BackendError(f"{subject.artifact.name}: QNN's profile names no node.")
    return Profiled(
        ops=ops,
        total_ms=None,
        engine="QNN's detailed profile on the x86 HTP emulator: cycles of the emulation, no device's",
        runs=1,
    )


def _qnn_ops(written: Path, layers: Sequence[Layer]) -> Iterator[OpProfile]:
    last = ""
    with written.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            event = _NODE.fullmatch(row.get("Event Identifier") or "")
            count = row.get("Time") or ""
            if row.get("Unit of Measurement") != "CYCLES" or event is None or not count.isdecimal():
                continue
            name = event["name"]
            layer = _layer_of(name, layers)
            last = layer.name if layer else last
            yield OpProfile(
                op=name[:200],
                layer=last,
                exact=layer is not None,
                kind=layer.kind if layer else LayerKind.OTHER,
                ms=None,
                cycles=int(count),
                macs=layer.macs if layer else 0,
                inside=True,
            )


def _layer_of(name: str, layers: Sequence[Layer]) -> Layer | None:
    """Find a node's layer by the name that the ONNX exporter took from the torch graph."""
    plain = _QNN_ADDED.sub("", name).removeprefix("node_")
    return next((layer for layer in layers if layer.node == plain), None)
