"""Looks into LiteRT models: every operator is run by itself, by LiteRT's own kernels, and keeps its output."""

import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import flatbuffers
import numpy as np

from pocketcrafter.benchmarks.bisect.faults import NARROWED, SCALED, TURNS, Fault, Planted, differs
from pocketcrafter.benchmarks.bisect.order import CLAMP, Shown, by_order, by_weights, fed_by
from pocketcrafter.benchmarks.bisect.reference import Reference, Seen, Values
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.litert import LiteRtSession, open_interpreter, to_floats
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_SCHEMA: Final = "ai_edge_litert.schema_py_generated"
_IDENTIFIER: Final = b"TFL3"
_QUANTIZE: Final = "QUANTIZE"
_DEPTHWISE: Final = "DEPTHWISE_CONV_2D"
_WEIGHTED: Final[Mapping[str, str]] = {"CONV_2D": "conv2d", _DEPTHWISE: "conv2d", "FULLY_CONNECTED": "linear"}
_KINDS: Final[Mapping[str, str]] = {
    **_WEIGHTED,
    "TRANSPOSE_CONV": "conv_transpose2d",
    "BATCH_MATMUL": "matmul",
    "ADD": "add",
    "SUB": "sub",
    "MUL": "mul",
    "DIV": "div",
    "HARD_SWISH": "hardswish",
    "LOGISTIC": "sigmoid",
    "SOFTMAX": "softmax",
    "RELU": CLAMP,
    "RELU6": CLAMP,
    "ABS": "abs",
    "LOG": "log",
    "SQRT": "sqrt",
    "AVERAGE_POOL_2D": "avg_pool2d",
    "MAX_POOL_2D": "max_pool2d",
    "MEAN": "mean",
    "CONCATENATION": "cat",
}
"""Torch's words for LiteRT's operators."""
_SEEN: Final = frozenset({"conv2d", "conv_transpose2d", "linear", "matmul", "hardswish", "sigmoid", "softmax"})
"""What is shown. The converter moves and merges sums and products, so that their order does not tell them apart."""


def observe_litert(
    artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference
) -> Values:
    """Run a model without its delegate and read every operator's output; integers come dequantized.

    Parameters
    ----------
    artifact
        A ``.tflite``.
    spec, inputs, reference
        As for :data:`pocketcrafter.benchmarks.bisect.runtimes.Observe`.

    Raises
    ------
    BackendError
        If LiteRT cannot run it.
    """
    return _observed(artifact.read_bytes(), spec, inputs, reference)


def _observed(content: bytes, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference) -> Values:
    try:
        interpreter = open_interpreter(content, 1, delegate=False)
        outputs = LiteRtSession(interpreter.get_signature_runner(), spec).run(inputs)
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"{spec.name}: LiteRT cannot show its layers: {error}") from error
    tensors = {int(tensor["index"]): tensor for tensor in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    made_by = {int(value): place for place, op in enumerate(operators) for value in op["outputs"]}
    reads = [[int(value) for value in op["inputs"]] for op in operators]
    quantized = {int(op["inputs"][0]): int(op["outputs"][0]) for op in operators if op["op_name"] == _QUANTIZE}
    known = [op for op in operators if op["op_name"] in _KINDS]
    places = {int(op["outputs"][0]): number for number, op in enumerate(known)}
    shown = []
    for op in known:
        output = int(op["outputs"][0])
        seen = tensors[quantized.get(output, output)]
        kind = _KINDS[op["op_name"]]
        value = None
        if kind in _SEEN:
            floats = to_floats(interpreter.get_tensor(seen["index"]), seen).astype(np.float32)
            value = Seen(floats, float(seen["quantization"][0]))
        feeds = fed_by(made_by, reads, made_by[output], places.keys())
        shown.append(Shown(kind, math.prod(map(int, seen["shape"])), value, frozenset(places[feed] for feed in feeds)))
    return {**{name: Seen(value) for name, value in outputs.items()}, **by_order(shown, reference)}


def plant_litert(
    artifact: Path, spec: ComponentSpec, reference: Reference, inputs: Mapping[str, FloatArray]
) -> Iterator[Planted]:
    """Yield every fault that can be planted in a model.

    Parameters
    ----------
    artifact
        A ``.tflite``.
    spec, reference, inputs
        Its contract, the network that it was made of, and what it is run on.
    """
    schema = importlib.import_module(_SCHEMA)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    model = _unpacked(schema, artifact.read_bytes())
    graph = model.subgraphs[0]
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    layers = [(place, codes[op.opcodeIndex]) for place, op in enumerate(graph.operators)]
    known = {
        place: nodes
        for place, name in layers
        if name in _WEIGHTED and (nodes := by_weights(_weight(model, graph.operators[place]), reference))
    }
    for place, nodes in known.items():
        op = graph.operators[place]
        for fault, change in _changes(model, op, 3 if layers[place][1] == _DEPTHWISE else 0).items():
            belongs = [*nodes]
            if fault is Fault.RANGE:
                readers = [n for n, other in enumerate(graph.operators) if op.outputs[0] in other.inputs]
                if not known.keys() >= set(readers):
                    continue  # what only moves values would read them by the scale that was
                # Biases are multiples of the scales of input and weights: those of the next layers are changed too.
                belongs += [node for reader in readers for node in known[reader]]
            yield Planted(fault, tuple(belongs), _observing(model, change, spec, inputs, reference))


def _unpacked(schema: Any, content: bytes) -> Any:  # noqa: ANN401 - of generated classes
    """Return a model with all constants inside it; AI Edge Quantizer writes them behind it."""
    model = schema.ModelT.InitFromPackedBuf(content)
    for buffer in model.buffers:
        if buffer.size:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def _weight_place(model: Any, op: Any) -> int:  # noqa: ANN401 - of generated classes
    # Weights of 16 bits are made 32 first.
    operators = model.subgraphs[0].operators
    widened = {int(other.outputs[0]): int(other.inputs[0]) for other in operators if len(other.inputs) == 1}
    return widened.get(int(op.inputs[1]), int(op.inputs[1]))


def _weight(model: Any, op: Any) -> FloatArray:  # noqa: ANN401 - of generated classes
    """Return a layer's weight in float32; empty where it is computed."""
    tensor = model.subgraphs[0].tensors[_weight_place(model, op)]
    kind, content = _TYPES.get(tensor.type), model.buffers[tensor.buffer].data
    if kind is None or content is None:
        return np.empty(0, np.float32)
    weight = np.frombuffer(bytes(content), kind)[: math.prod(tensor.shape)].reshape(tensor.shape).astype(np.float32)
    if kind is np.int8:
        scales = np.asarray(tensor.quantization.scale, np.float32)
        shape = [1] * weight.ndim
        shape[tensor.quantization.quantizedDimension] = -1
        weight = weight * (scales.reshape(shape) if scales.size > 1 else scales)
    return weight


_Change = Callable[[Any], None]
_TYPES: Final[Mapping[int, type]] = {0: np.float32, 1: np.float16, 9: np.int8}
"""LiteRT's numbers of the types that weights have."""


def _changes(model: Any, op: Any, axis: int) -> dict[Fault, _Change]:  # noqa: ANN401 - of generated classes
    output_place, weight_place = int(op.outputs[0]), _weight_place(model, op)
    tensors = model.subgraphs[0].tensors
    weight, output = tensors[weight_place], tensors[output_place]
    kind = _TYPES.get(weight.type)
    content = model.buffers[weight.buffer].data
    if kind is None or content is None or len(weight.shape) <= axis or weight.shape[axis] < 2:
        return {}

    def weights(turn: Callable[[np.ndarray, int], np.ndarray]) -> _Change:
        def change(own: Any) -> None:  # noqa: ANN401 - of a generated class
            buffer = own.buffers[weight.buffer]
            stored = np.frombuffer(bytes(buffer.data), kind)[: math.prod(weight.shape)].reshape(weight.shape)
            buffer.data = np.frombuffer(turn(stored, axis).tobytes(), np.uint8)

        return change

    def scaled(place: int, factor: float) -> _Change:
        def change(own: Any) -> None:  # noqa: ANN401 - of a generated class
            scheme = own.subgraphs[0].tensors[place].quantization
            scheme.scale = np.asarray(scheme.scale, np.float32) * np.float32(factor)

        return change

    stored = np.frombuffer(bytes(content), kind)[: math.prod(weight.shape)].reshape(weight.shape)
    found: dict[Fault, _Change] = {
        fault: weights(turn) for fault, turn in TURNS.items() if differs(stored, turn(stored, axis))
    }
    if kind is np.int8:
        found[Fault.SCALE] = scaled(weight_place, SCALED)
    if output.type == weight.type and kind is np.int8:
        found[Fault.RANGE] = scaled(output_place, NARROWED)
    return found


def _observing(
    model: Any,  # noqa: ANN401 - of a generated class
    change: _Change,
    spec: ComponentSpec,
    inputs: Mapping[str, FloatArray],
    reference: Reference,
) -> Callable[[], Values]:
    def run() -> Values:
        changed = deepcopy(model)
        change(changed)
        builder = flatbuffers.Builder(1024)
        builder.Finish(changed.Pack(builder), _IDENTIFIER)
        return _observed(bytes(builder.Output()), spec, inputs, reference)

    return run
