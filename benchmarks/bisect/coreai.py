"""Looks into Core AI assets: values of the program become outputs of it, and Apple's own runtime gives them."""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pocketcrafter.benchmarks.bisect.faults import SCALED, TURNS, Fault, Planted, differs
from pocketcrafter.benchmarks.bisect.order import CLAMP, Shown, by_order, by_weights, fed_by
from pocketcrafter.benchmarks.bisect.reference import Reference, Seen, Values
from pocketcrafter.export.lower.coreai.convert import coreai
from pocketcrafter.export.lower.coreai.lowering import CONSTANT, kind_of, main_graph, open_program
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.components import ComponentSpec, TensorSpec
from pocketcrafter.runtime.errors import BackendError

_OUTPUT: Final = "coreai.output"
_VALUE: Final = "value"
_SCALED: Final = "blockwise_shift_scale"
_TRANSPOSE: Final = "transpose"
_SEEN: Final = "seen_"
_KINDS: Final[Mapping[str, str]] = {
    "conv": "conv2d",
    "matmul": "matmul",
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "divide": "div",
    "hard_sigmoid": "hardsigmoid",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "softmax": "softmax",
    "relu": CLAMP,
    "abs": "abs",
    "log": "log",
    "sqrt": "sqrt",
    "max_pool_2d": "max_pool2d",
    "reduce_mean": "mean",
    "concat": "cat",
}
"""Torch's words for Core AI's operators."""
_SHOWN: Final = frozenset({"conv2d", "linear", "matmul", "hardsigmoid", "sigmoid", "silu", "softmax"})
"""What is shown. The converter writes sums, products and some activations otherwise: their order does not tell them."""
_INPUT: Final = -1
_MATRIX: Final = 2
_PICTURES: Final = 4
_NUMBERS: Final[Mapping[str, type]] = {"f16": np.float16, "f32": np.float32, "si8": np.int8}
"""Core AI's numbers of the types that weights have; those of fewer bits are packed, and left alone."""


@dataclass(frozen=True)
class _Operator:
    """One operator that torch has a word for.

    Attributes
    ----------
    kind
        Torch's word.
    place
        Its own place in the program.
    made
        The place of the operator whose output is its: of a layer with a bias that of the sum.
    """

    kind: str
    place: int
    made: int


class _Program:
    """An asset's function `main`; what it is made of may be changed.

    Raises
    ------
    BackendError
        If Apple's packages are missing, or the asset cannot be read.
    """

    def __init__(self, artifact: Path) -> None:
        self._program = open_program(artifact)
        self._graph = main_graph(self._program, artifact)
        self.ops: list[Any] = list(self._graph.regions[0].blocks[0].operations)
        self._made = {op.results[0].get_name(): place for place, op in enumerate(self.ops) if op.results}
        # The function's own inputs are made nowhere.
        self.operands = [[self._made.get(value.get_name(), _INPUT) for value in op.operands] for op in self.ops]
        self.reads = [[read for read in own if read != _INPUT] for own in self.operands]
        self.constant: set[int] = set()
        for place, op in enumerate(self.ops):
            own = self.operands[place]
            if kind_of(op) == CONSTANT or (own and op.results and self.constant.issuperset(own)):
                self.constant.add(place)

    def operators(self) -> list[_Operator]:
        """Return the operators that torch has words for, in running order; sums with constants belong to layers."""
        readers: dict[int, list[int]] = {}
        for place, read in enumerate(self.reads):
            for source in read:
                readers.setdefault(source, []).append(place)
        found, biases = [], set[int]()
        for place, op in enumerate(self.ops):
            kind = _KINDS.get(kind_of(op))
            if kind is None or place in self.constant or place in biases:
                continue
            made = place
            if self.weighted(place):
                kind = "linear" if kind == "matmul" else kind
                (reader,) = own if len(own := readers.get(place, [])) == 1 else (None,)
                if reader is not None and kind_of(self.ops[reader]) == "add" and self._with_constant(reader):
                    biases.add(made := reader)
            found.append(_Operator(kind, place, made))
        return found

    def weighted(self, place: int) -> bool:
        """Whether an operator is a layer that multiplies by constants."""
        return kind_of(self.ops[place]) in {"conv", "matmul"} and self.operands[place][1] in self.constant

    def _with_constant(self, place: int) -> bool:
        return any(read in self.constant for read in self.reads[place])

    def weight_path(self, place: int) -> list[int]:
        """Return the places from what a layer multiplies by back to where it is stored."""
        path = [self.operands[place][1]]
        while self.reads[path[-1]]:
            path.append(self.reads[path[-1]][0])
        return path

    def content(self, place: int) -> np.ndarray | None:
        """Return a constant; `None` where its numbers are packed."""
        kind = self.ops[place].results[0].type
        number = _NUMBERS.get(str(kind.element_type))
        if number is None:
            return None
        content = np.zeros(math.prod(kind.shape), number)
        _bindings().copy_constant_value_to_array(constant_op=self.ops[place], destination=content.view(np.uint8))
        return content.reshape(tuple(kind.shape))

    def set_content(self, place: int, content: np.ndarray) -> None:
        """Change a constant."""
        op, resource = self.ops[place], coreai("coreai._compiler.ir").DenseResourceElementsAttr
        with op.context, op.location:
            flat = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
            op.attributes[_VALUE] = resource.get_from_buffer(flat, f"changed_{place}", op.results[0].type)

    def run(
        self, places: list[int], spec: ComponentSpec, inputs: Mapping[str, FloatArray]
    ) -> tuple[dict[str, FloatArray], dict[int, FloatArray]]:
        """Run the program with values as further outputs; return its own outputs and these.

        Raises
        ------
        BackendError
            If the runtime cannot run it.
        """
        seen = tuple(
            TensorSpec(name=f"{_SEEN}{place}", shape=tuple(self.ops[place].results[0].type.shape), semantics="layer")
            for place in places
        )
        self._show(places, [tensor.name for tensor in (*spec.outputs, *seen)])
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-bisect-") as folder:
            path = Path(folder) / "shown.aimodel"
            self._program.save_asset(path)
            more = spec.model_copy(update={"outputs": (*spec.outputs, *seen)})
            made = usable_backend(BackendName.COREAI).open(path, more, 1).run(inputs)
        answer = {tensor.name: made[tensor.name] for tensor in spec.outputs}
        return answer, {place: made[tensor.name] for place, tensor in zip(places, seen, strict=True)}

    def _show(self, places: list[int], names: list[str]) -> None:
        ir, graph, last = coreai("coreai._compiler.ir"), self._graph, self.ops[-1]
        with graph.operation.context, graph.operation.location:
            outputs = [*last.operands, *(self.ops[place].results[0] for place in places)]
            ir.Operation.create(_OUTPUT, operands=outputs, ip=ir.InsertionPoint(last))
            last.operation.erase()
            inputs = ir.FunctionType(ir.TypeAttr(graph.attributes["function_type"]).value).inputs
            made = ir.FunctionType.get(list(inputs), [output.type for output in outputs])
            graph.attributes["function_type"] = ir.TypeAttr.get(made)
            called = ", ".join(f'{{coreai.name = "{name}"}}' for name in names)
            graph.attributes["res_attrs"] = ir.Attribute.parse(f"[{called}]")


def _bindings() -> Any:  # noqa: ANN401 - untyped package
    return coreai("coreai._compiler._mlir_libs._coreaiIR")._bindings.compiler


def observe_coreai(
    artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference
) -> Values:
    """Run an asset in Apple's runtime with the outputs of its layers as outputs.

    Parameters
    ----------
    artifact
        An ``.aimodel``.
    spec, inputs, reference
        As for :data:`pocketcrafter.benchmarks.bisect.runtimes.Observe`.

    Raises
    ------
    BackendError
        If Apple's packages are missing, or the asset cannot be read or run.
    """
    return _observed(_Program(artifact), spec, inputs, reference)


def _observed(program: _Program, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference) -> Values:
    operators = program.operators()
    sizes = [tuple(program.ops[one.made].results[0].type.shape) for one in operators]
    visible = [one.made for one, shape in zip(operators, sizes, strict=True) if one.kind in _SHOWN and shape]
    places = {one.made: number for number, one in enumerate(operators)}
    made_by = {place: place for place in range(len(program.ops))}
    feeds = [fed_by(made_by, program.reads, one.place, places.keys()) for one in operators]
    try:
        answer, values = program.run(visible, spec, inputs)
    except BackendError:
        raise
    except Exception as error:  # Apple's packages raise whatever their passes raise
        raise BackendError(f"{spec.name}: Core AI cannot show its layers: {type(error).__name__}: {error}") from error
    shown = [
        Shown(
            one.kind,
            math.prod(shape),
            Seen(values[one.made]) if one.made in values else None,
            frozenset(places[read] for read in read_by),
        )
        for one, shape, read_by in zip(operators, sizes, feeds, strict=True)
    ]
    return {**{name: Seen(value) for name, value in answer.items()}, **by_order(shown, reference, folds=False)}


_Change = Callable[[_Program], None]


def plant_coreai(
    artifact: Path, spec: ComponentSpec, reference: Reference, inputs: Mapping[str, FloatArray]
) -> Iterator[Planted]:
    """Yield every fault that can be planted in an asset.

    Parameters
    ----------
    artifact
        An ``.aimodel``.
    spec, reference, inputs
        Its contract, the network that it was made of, and what it is run on.
    """
    program = _Program(artifact)

    def observing(change: _Change) -> Callable[[], Values]:
        def run() -> Values:
            changed = _Program(artifact)
            change(changed)
            return _observed(changed, spec, inputs, reference)

        return run

    for place, op in enumerate(program.ops):
        if kind_of(op) not in {"conv", "matmul"} or place in program.constant or not program.weighted(place):
            continue
        path = program.weight_path(place)
        stored, kinds = path[-1], [kind_of(program.ops[step]) for step in path]
        weight = program.content(stored)
        scale = program.reads[path[kinds.index(_SCALED)]][1] if _SCALED in kinds else None
        scales = None if scale is None else program.content(scale)
        if weight is None or weight.ndim not in {_MATRIX, _PICTURES}:
            continue
        # Linear layers are stored as (outputs, inputs) and transposed, or as they multiply.
        axis = 1 if kind_of(op) == "matmul" and _TRANSPOSE not in kinds else 0
        floats = weight.astype(np.float32) * (1.0 if scales is None else scales.astype(np.float32))
        laid = floats.transpose(0, 2, 3, 1) if floats.ndim == _PICTURES else np.moveaxis(floats, axis, 0)
        nodes = by_weights(laid, reference)
        if not nodes or weight.shape[axis] < 2:
            continue
        for fault, turn in TURNS.items():
            if differs(weight, changed := turn(weight, axis)):
                yield Planted(fault, nodes, observing(_setting(stored, changed)))
        if scale is not None and scales is not None:
            larger = (scales * SCALED).astype(scales.dtype)
            yield Planted(Fault.SCALE, nodes, observing(_setting(scale, larger)))


def _setting(place: int, content: np.ndarray) -> _Change:
    return lambda program: program.set_content(place, content)
