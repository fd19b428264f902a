"""Looks into ExecuTorch programs for XNNPACK: every value of the delegate's graph becomes an output of the program."""

import importlib.util
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import flatbuffers
import numpy as np
import torch
from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader, _get_schema_bytes
from executorch.exir._serialize._flatbuffer import _run_flatc
from executorch.exir._serialize._program import PTEFile, deserialize_pte_binary, serialize_pte_binary
from executorch.exir.scalar_type import ScalarType
from executorch.exir.schema import AllocationDetails, DelegateCall, EValue, Tensor, TensorShapeDynamism

from pocketcrafter.benchmarks.bisect.faults import NARROWED, SCALED, TURNS, Fault, Planted, differs
from pocketcrafter.benchmarks.bisect.order import CLAMP, Shown, by_order, by_weights, fed_by
from pocketcrafter.benchmarks.bisect.reference import Reference, Seen, Values
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.executorch import load_method
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.fidelity import sqnr_db

_BACKEND: Final = "XnnpackBackend"
_NONE: Final = 0xFFFFFFFF
_ALIGNED: Final = 64
_SAME_DB: Final = 60.0
"""Answers that are nearer to each other differ in float rounding."""
_OUTPUT: Final = 2
"""XNNPACK's flag of a value that the caller gets."""
_CONVERT: Final = "XNNConvert"
_FLOATS: Final = frozenset({1})
_SCALARS: Final[Mapping[int, ScalarType]] = {1: ScalarType.FLOAT, 3: ScalarType.CHAR}
"""XNNPACK's numbers of the types that are shown: float32, and INT8 with one scale."""
_DIFFERENCE: Final = "XNNSubtract"
"""Paired, and not looked at: of ``constant - x`` XNNPACK shows something else (0 dB) than its readers get."""
_KINDS: Final[Mapping[str, str]] = {
    "XNNConv2d": "conv2d",
    "XNNDepthwiseConv2d": "conv2d",
    "XNNConvTranspose2d": "conv_transpose2d",
    "XNNFullyConnected": "linear",
    "XNNBatchMatrixMultiply": "matmul",
    "XNNAdd": "add",
    _DIFFERENCE: "sub",
    "XNNMultiply": "mul",
    "XNNDiv": "div",
    "XNNHardswish": "hardswish",
    "XNNSigmoid": "sigmoid",
    "XNNSoftmax": "softmax",
    "XNNClamp": CLAMP,
    "XNNAbs": "abs",
    "XNNLog": "log",
    "XNNSquareRoot": "sqrt",
    "XNNAvgPooling2d": "avg_pool2d",
    "XNNMaxPooling2d": "max_pool2d",
    "XNNGlobalAvgPooling2d": "mean",
    "XNNConcatenate2": "cat",
    "XNNConcatenate3": "cat",
    "XNNConcatenate4": "cat",
    "XNNConcatenate5": "cat",
}
"""Torch's words for XNNPACK's operators; others are not shown."""
_PRODUCTS: Final = frozenset({"XNNConv2d", "XNNDepthwiseConv2d", "XNNFullyConnected"})
_DEPTHWISE: Final = "XNNDepthwiseConv2d"


class XnnpackProgram:
    """A `.pte` whose one delegate is XNNPACK's, taken apart; what it is made of may be changed.

    Raises
    ------
    BackendError
        If it is something else.
    """

    def __init__(self, artifact: Path) -> None:
        try:
            self._file: PTEFile = deserialize_pte_binary(artifact.read_bytes())
            (plan,) = self._file.program.execution_plan
            (self._call,) = _calls(self._file)
            self._data = self._file.program.backend_delegate_data[plan.delegates[0].processed.index]
            self._graph = _graph(bytes(self._data.data))
        except Exception as error:  # ExecuTorch's readers raise whatever they meet
            raise BackendError(f"{artifact}: XNNPACK's layers cannot be read in it: {error}") from error

    def operators(self) -> list["Operator"]:
        """Return the operators in running order."""
        names = {number: name for name, number in vars(_schema().XNodeUnion).items() if isinstance(number, int)}
        return [Operator(names[node.xnodeUnionType], node.xnodeUnion) for node in self._graph.xnodes]

    def value(self, number: int) -> Any:  # noqa: ANN401 - of a generated class
        """Return what the schema says of a value: with `tensorValue` and `quantParams` where it is quantized."""
        return next(v.xvalueUnion for v in self._graph.xvalues if tensor_of(v.xvalueUnion).idOut == number)

    def constant(self, place: int) -> np.ndarray:
        """Return a constant's bytes by its place."""
        return np.frombuffer(bytes(self._file.named_data.buffers[self._buffer(place)]), np.uint8)

    def set_constant(self, place: int, content: np.ndarray) -> None:
        """Change a constant."""
        self._file.named_data.buffers[self._buffer(place)] = content.tobytes()

    def _buffer(self, place: int) -> int:
        key = self._graph.constantData[place].namedKey
        return int(self._file.named_data.pte_data[key.decode() if isinstance(key, bytes) else key].buffer_index)

    def values(
        self, numbers: Sequence[int], inputs: list[torch.Tensor]
    ) -> tuple[list[np.ndarray], dict[int, np.ndarray]]:
        """Run the program with values as outputs; return its own outputs and these, integers as they are.

        XNNPACK fuses otherwise where a value is asked for. One that changes what the program itself answers is left
        out.

        Raises
        ------
        BackendError
            If ExecuTorch cannot run it.
        """
        answer = self._run_showing((), inputs)
        found: dict[int, np.ndarray] = {}
        waiting = [tuple(numbers)]
        while waiting:
            here = waiting.pop()
            made = self._run_showing(here, inputs)
            if all(map(_alike, answer, made)):
                found |= dict(zip(here, made[len(answer) :], strict=True))
            elif len(here) > 1:
                waiting += [here[: len(here) // 2], here[len(here) // 2 :]]
        return answer, found

    def _run_showing(self, numbers: Sequence[int], inputs: list[torch.Tensor]) -> list[np.ndarray]:
        """Return the program's own outputs, and values behind them."""
        shown = deepcopy(self)
        shown._show(numbers)
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-bisect-") as folder:
            path = Path(folder) / "shown.pte"
            path.write_bytes(bytes(serialize_pte_binary(shown._file)))
            try:
                owner, method = load_method(path)
                values = [value.numpy().copy() for value in method(inputs)]
            except Exception as error:  # ExecuTorch raises plain RuntimeError and ValueError
                raise BackendError(f"ExecuTorch cannot show the layers of XNNPACK: {error}") from error
            del method, owner
        return values

    def _show(self, numbers: Sequence[int]) -> None:
        (plan,) = self._file.program.execution_plan
        for number in numbers:
            tensor = tensor_of(self.value(number))
            sizes, scalar = [int(size) for size in tensor.dims], _SCALARS[tensor.datatype]
            start = -(-plan.non_const_buffer_sizes[1] // _ALIGNED) * _ALIGNED
            plan.non_const_buffer_sizes[1] = start + math.prod(sizes) * (4 if scalar is ScalarType.FLOAT else 1)
            place = AllocationDetails(1, start & _NONE, start >> 32)
            order = list(range(len(sizes)))
            plan.values.append(EValue(Tensor(scalar, 0, sizes, order, False, 0, 0, place, TensorShapeDynamism.STATIC)))
            plan.outputs.append(len(plan.values) - 1)
            tensor.externalId = len(self._call.args)
            tensor.flags |= _OUTPUT
            self._call.args.append(len(plan.values) - 1)
            self._graph.outputIds = [*self._graph.outputIds, number]
        self._graph.numExterns = len(self._call.args)
        self._data.data = _payload(bytes(self._data.data), self._graph)


@dataclass(frozen=True)
class Operator:
    """One operator of XNNPACK's graph.

    Attributes
    ----------
    kind
        XNNPACK's word for it.
    about
        What the schema says of it.
    """

    kind: str
    about: Any

    @property
    def output(self) -> int:
        """The number of the value that it makes."""
        return int(self.about.outputId)

    @property
    def reads(self) -> list[int]:
        """Numbers of the values that it computes from; weights are its own."""
        own = {"outputId", "filterId", "biasId"}
        named = vars(self.about).items()
        return [int(v) for name, v in named if name.endswith("Id") and name not in own and v != _NONE]


def tensor_of(value: Any) -> Any:  # noqa: ANN401 - of generated classes
    """Return a value's tensor, quantized or not."""
    return getattr(value, "tensorValue", value)


def observe_xnnpack(
    artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference
) -> Values:
    """Run a program in ExecuTorch with XNNPACK's values as its outputs; integers come dequantized.

    Parameters
    ----------
    artifact
        A ``.pte`` for XNNPACK.
    spec, inputs, reference
        As for :data:`pocketcrafter.benchmarks.bisect.runtimes.Observe`.

    Raises
    ------
    BackendError
        If the program is not one graph for XNNPACK, or cannot be run.
    """
    return _observed(XnnpackProgram(artifact), spec, inputs, reference)


def _observed(
    program: XnnpackProgram, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference
) -> Values:
    sources, operators = _sources(program), program.operators()
    tensors = [torch.tensor(inputs[tensor.name]) for tensor in spec.inputs]
    answer, values = program.values(list(dict.fromkeys(sources.values())), tensors)
    made_by = {op.output: place for place, op in enumerate(operators)}
    reads = [op.reads for op in operators]
    known = [op for op in operators if op.kind in _KINDS]
    places = {op.output: number for number, op in enumerate(known)}
    shown = []
    for op in known:
        source = sources.get(op.output)
        visible = source is not None and source in values and op.kind != _DIFFERENCE
        value = _seen(values[source], program.value(source)) if visible and source is not None else None
        size = math.prod(tensor_of(program.value(op.output)).dims)
        feeds = fed_by(made_by, reads, made_by[op.output], places.keys())
        shown.append(Shown(_KINDS[op.kind], int(size), value, frozenset(places[feed] for feed in feeds)))
    outputs = dict(zip((tensor.name for tensor in spec.outputs), answer, strict=True))
    return {**{name: Seen(value) for name, value in outputs.items()}, **by_order(shown, reference)}


def _alike(expected: np.ndarray, actual: np.ndarray) -> bool:
    return np.array_equal(expected, actual, equal_nan=True) or sqnr_db(expected, actual) > _SAME_DB


def _sources(program: XnnpackProgram) -> dict[int, int]:
    """Return for each operator's output the value to look at: what its readers get, where it is quantized after it."""
    operators = program.operators()
    converted = {op.about.inputId: op.output for op in operators if op.kind == _CONVERT}
    found = {}
    for op in operators:
        seen = converted.get(op.output, op.output)
        tensor = tensor_of(program.value(seen))
        if op.kind in _KINDS and tensor.datatype in _SCALARS and tensor.externalId == _NONE:
            found[op.output] = seen
    return found


def _seen(array: np.ndarray, value: Any) -> Seen:  # noqa: ANN401 - of a generated class
    scheme = getattr(value, "quantParams", None)
    if scheme is None:
        return Seen(array)
    floats = (array.astype(np.float32) - np.float32(scheme.zeroPoint)) * np.float32(scheme.scale)
    return Seen(floats, float(scheme.scale))


def plant_xnnpack(
    artifact: Path, spec: ComponentSpec, reference: Reference, inputs: Mapping[str, FloatArray]
) -> Iterator[Planted]:
    """Yield every fault that can be planted in a program.

    Parameters
    ----------
    artifact
        A ``.pte`` for XNNPACK.
    spec, reference, inputs
        Its contract, the network that it was made of, and what it is run on.
    """
    program = XnnpackProgram(artifact)
    layers = _layers(program, reference)
    operators = program.operators()
    for place, op in enumerate(operators):
        if place not in layers or tensor_of(program.value(op.about.filterId)).dims[_axis(op)] < 2:
            continue
        for fault, change in _changes(program, op).items():
            nodes = [*layers[place]]
            if fault is Fault.RANGE:
                # Biases are multiples of the scales of input and weights: those of the next layers are changed too.
                readers = (n for n, other in enumerate(operators) if op.output in other.reads and n in layers)
                nodes += [node for reader in readers for node in layers[reader]]
            yield Planted(fault, tuple(nodes), _observing(program, change, spec, inputs, reference))


def _layers(program: XnnpackProgram, reference: Reference) -> dict[int, tuple[str, ...]]:
    """Return the torch operators that products compute, by their places."""
    found = {}
    for place, op in enumerate(program.operators()):
        if op.kind in _PRODUCTS:
            value = program.value(op.about.filterId)
            tensor, scheme = tensor_of(value), getattr(value, "quantParams", None)
            weight = _stored(program, tensor).astype(np.float32)
            if scheme is not None:
                shape = [1] * weight.ndim
                shape[_axis(op)] = -1
                weight *= (
                    program.constant(scheme.scaleBufferIdx).view(np.float32)[: weight.shape[_axis(op)]].reshape(shape)
                )
            if nodes := by_weights(weight, reference):
                found[place] = nodes
    return found


def _stored(program: XnnpackProgram, tensor: Any) -> np.ndarray:  # noqa: ANN401 - of a generated class
    kind = np.float32 if tensor.datatype in _FLOATS else np.int8
    return program.constant(tensor.constantBufferIdx).view(kind)[: math.prod(tensor.dims)].reshape(tensor.dims)


def _axis(op: Operator) -> int:
    return 3 if op.kind == _DEPTHWISE else 0


_Change = Callable[[XnnpackProgram], None]


def _changes(program: XnnpackProgram, op: Operator) -> dict[Fault, _Change]:
    weight, output = program.value(op.about.filterId), program.value(op.output)

    def weights(turn: Callable[[np.ndarray, int], np.ndarray]) -> _Change:
        def change(own: XnnpackProgram) -> None:
            tensor = tensor_of(own.value(op.about.filterId))
            own.set_constant(tensor.constantBufferIdx, turn(_stored(own, tensor), _axis(op)))

        return change

    def scales(own: XnnpackProgram) -> None:
        place = own.value(op.about.filterId).quantParams.scaleBufferIdx
        own.set_constant(place, own.constant(place).view(np.float32) * np.float32(SCALED))

    def narrowed(own: XnnpackProgram) -> None:
        own.value(op.output).quantParams.scale *= NARROWED

    stored = _stored(program, tensor_of(weight))
    found: dict[Fault, _Change] = {
        fault: weights(turn) for fault, turn in TURNS.items() if differs(stored, turn(stored, _axis(op)))
    }
    if hasattr(weight, "quantParams"):
        found[Fault.SCALE] = scales
    if hasattr(getattr(output, "quantParams", None), "scale"):
        found[Fault.RANGE] = narrowed
    return found


def _observing(
    program: XnnpackProgram,
    change: _Change,
    spec: ComponentSpec,
    inputs: Mapping[str, FloatArray],
    reference: Reference,
) -> Callable[[], Values]:
    def run() -> Values:
        changed = deepcopy(program)
        change(changed)
        return _observed(changed, spec, inputs, reference)

    return run


def _calls(file: PTEFile) -> list[DelegateCall]:
    (plan,) = file.program.execution_plan
    calls = (i.instr_args for i in plan.chains[0].instructions if isinstance(i.instr_args, DelegateCall))
    return [call for call in calls if plan.delegates[call.delegate_index].id == _BACKEND]


@cache
def _schema() -> Any:  # noqa: ANN401 - a generated module
    """Return classes for XNNPACK's graphs, generated from the schema: as JSON, flatc would round small numbers to 0."""
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-bisect-") as name:
        schema = Path(name) / "schema.fbs"
        schema.write_bytes(_get_schema_bytes())
        _run_flatc(["--python", "--gen-object-api", "--gen-onefile", "-o", name, str(schema)])
        spec = importlib.util.spec_from_file_location("xnnpack_schema", schema.with_name("schema_generated.py"))
        if spec is None or spec.loader is None:
            raise BackendError("flatc wrote no classes for XNNPACK's graphs.")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    # flatc 24.3 calls its makers of unions otherwise than it names them: `XnodeUnionCreator`.
    named = {name.casefold(): name for name in vars(module)}
    for union in ("XNodeUnion", "XValueUnion", "XNNQuantParams"):
        setattr(module, f"{union}Creator", getattr(module, named[f"{union}creator".casefold()]))
    return module


def _graph(payload: bytes) -> Any:  # noqa: ANN401 - of a generated class
    header = XNNHeader.from_bytes(payload[: XNNHeader.EXPECTED_LENGTH])
    return _schema().XNNGraphT.InitFromPackedBuf(payload[header.flatbuffer_offset :])


def _payload(before: bytes, graph: Any) -> bytes:  # noqa: ANN401 - of a generated class
    """Return the delegate's data with another graph; what lies behind the graph stays."""
    header = XNNHeader.from_bytes(before[: XNNHeader.EXPECTED_LENGTH])
    builder = flatbuffers.Builder(len(before))
    identifier = before[header.flatbuffer_offset + 4 : header.flatbuffer_offset + 8]
    builder.Finish(graph.Pack(builder), file_identifier=identifier)
    made = bytes(builder.Output())
    room = -(-len(made) // _ALIGNED) * _ALIGNED
    own = XNNHeader(header.flatbuffer_offset, len(made), header.flatbuffer_offset + room, header.constant_data_size)
    head = own.to_bytes().ljust(header.flatbuffer_offset, b"\0")
    return bytes(head + made.ljust(room, b"\0") + before[header.constant_data_offset :])
