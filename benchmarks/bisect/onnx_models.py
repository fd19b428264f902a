"""Looks into ONNX models: every value that has the name of a torch operator becomes an output of the model."""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from pocketcrafter.benchmarks.bisect.faults import NARROWED, SCALED, TURNS, Fault, Planted, differs
from pocketcrafter.benchmarks.bisect.reference import Reference, Seen, Values
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnx_caches import has_parts, in_parts
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_QUANTIZED: Final = "_QuantizeLinear_Output"
_DEQUANTIZED: Final = "_DequantizeLinear_Output"
_SEEN: Final = "/seen"
_OWN: Final = "/own"
_SHUFFLED: Final = "node_pixel_shuffle"
"""In names of what our lowering makes of a shuffle: whole blocks are moved."""
_NUMBER: Final = re.compile(r"_\d+$")
_LAYERS: Final = frozenset({"conv2d", "linear"})
"""What the exporter adds none of."""
_MOVING: Final = frozenset(
    {"clone", "expand", "flatten", "permute", "reshape", "select", "slice", "squeeze", "transpose", "unsqueeze", "view"}
)
"""What computes nothing: the exporter merges these and numbers them anew, and a wrong one shows in its reader."""
_CONVOLUTIONS: Final = frozenset({"Conv", "QLinearConv"})
_PRODUCTS: Final = frozenset({*_CONVOLUTIONS, "Gemm", "QGemm", "MatMul"})
_PAIRS: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_SCALES_AT: Final[Mapping[str, int]] = {
    "QuantizeLinear": 1,
    "QLinearConv": 6,
    "QLinearMatMul": 6,
    "QLinearAdd": 6,
    "QLinearMul": 6,
    "QLinearGlobalAveragePool": 3,
    "QLinearSigmoid": 3,
    "QGemm": 7,
}
"""Where operators with an integer output have its scale among their inputs, and the zero point behind it."""


def observe_onnx(artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference) -> Values:
    """Run a model in ONNX Runtime with its inner values as outputs; integers come dequantized.

    Where a value is quantized, what its readers get is taken: a range that clips belongs to the layer that it follows.

    Parameters
    ----------
    artifact
        An ONNX model.
    spec, inputs, reference
        As for :data:`pocketcrafter.benchmarks.bisect.runtimes.Observe`.

    Raises
    ------
    BackendError
        If ONNX Runtime cannot run it.
    """
    model = onnx.load(artifact)
    shown = expose(model, reference)
    outputs = {output.name for output in model.graph.output}
    # Constants cannot be outputs; their copies can.
    copies = {scale: f"{scale}{_SEEN}" for value in shown.values() if (scale := value.scale) is not None}
    model.graph.node.extend(helper.make_node("Identity", [name], [copy]) for name, copy in copies.items())
    asked = list(dict.fromkeys([*(value.name for value in shown.values()), *copies.values()]))
    model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in asked if n not in outputs)
    try:
        session = open_session(model.SerializeToString())
        feeds = {tensor.name: inputs[tensor.name] for tensor in spec.inputs}
        if has_parts(session):
            feeds = in_parts(feeds)
        values = dict(zip(asked, session.run(asked, feeds), strict=True))
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise BackendError(f"{artifact}: ONNX Runtime cannot show its layers: {error}") from error
    return {
        name: Seen(values[value.name], float(values[copies[value.scale]].max()) if value.scale else 0.0)
        for name, value in shown.items()
        if values[value.name].dtype.kind == "f"
    }


@dataclass(frozen=True)
class Exposed:
    """A value of a model.

    Attributes
    ----------
    name
        The model's name of it.
    scale
        That of its scale, where it comes dequantized.
    """

    name: str
    scale: str | None


def expose(model: onnx.ModelProto, reference: Reference) -> dict[str, Exposed]:
    """Return the values of a model that have names of torch operators, by these; what dequantizes them is added to it.

    Parameters
    ----------
    model
        Is changed.
    reference
        The network that it was made of.
    """
    names = _kept(model, reference.wanted)
    shown: dict[str, str] = {}
    for node in list(model.graph.node):
        for value in node.output:
            base = _plain(value)
            if base not in names:
                continue
            if value.endswith(_QUANTIZED):
                if (seen := _dequantized(model, node, value)) is not None:
                    shown[base] = seen
            elif value.endswith(_DEQUANTIZED) or not shown.get(base, "").endswith((_SEEN, _DEQUANTIZED)):
                shown[base] = value
    for name in _in_another_order(model):
        shown.pop(name, None)
    scales = {node.output[0]: node.input[1] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return {name: Exposed(value, scales.get(value)) for name, value in shown.items()}


def _kept(model: onnx.ModelProto, names: frozenset[str]) -> frozenset[str]:
    """Return the names but those that the exporter gives anew: it writes ``rsub`` as ``sub``, and numbers all of them.

    Such a kind has a number that torch does not have. Operators that only move values are left out with them.
    """
    values = {_plain(value) for node in model.graph.node for value in node.output}
    renumbered = _MOVING | {_NUMBER.sub("", value) for value in values - names} - _LAYERS
    return frozenset(name for name in names if _NUMBER.sub("", name) not in renumbered)


def _plain(value: str) -> str:
    return value.removesuffix(_QUANTIZED).removesuffix(_DEQUANTIZED)


def _in_another_order(model: onnx.ModelProto) -> set[str]:
    """Return values whose channels lie in another order than torch's: a shuffle was made cheaper by turning weights."""
    found = set()
    for node in model.graph.node:
        modes = {attribute.s for attribute in node.attribute if attribute.name == "mode"}
        if node.op_type == "DepthToSpace" and b"CRD" not in modes:
            found.add(_plain(node.input[0]))
        if node.op_type == "Transpose" and _SHUFFLED in node.output[0]:
            found.add(_plain(node.input[0]))
        if node.op_type == "SpaceToDepth":
            found.add(_plain(node.output[0]))
    return found


def _dequantized(model: onnx.ModelProto, node: NodeProto, value: str) -> str | None:
    """Add what an integer value stands for to a model, and return its name; `None` where its scale is not known."""
    place = _SCALES_AT.get(node.op_type)
    if place is None or len(node.input) < place + 1:
        return None
    seen = f"{value}{_SEEN}"
    model.graph.node.append(helper.make_node("DequantizeLinear", [value, *node.input[place : place + 2]], [seen]))
    return seen


def plant_onnx(
    artifact: Path, spec: ComponentSpec, reference: Reference, inputs: Mapping[str, FloatArray]
) -> Iterator[Planted]:
    """Yield every fault that can be planted in a model.

    Parameters
    ----------
    artifact
        An ONNX model.
    spec, reference, inputs
        Its contract, the network that it was made of, and what it is run on.
    """

    def observe(changed: onnx.ModelProto) -> Values:
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-bisect-") as folder:
            path = Path(folder) / "changed.onnx"
            onnx.save(changed, path)
            return observe_onnx(path, spec, inputs, reference)

    return planted_in(onnx.load(artifact), reference, observe)


def planted_in(
    model: onnx.ModelProto, reference: Reference, observe: Callable[[onnx.ModelProto], Values]
) -> Iterator[Planted]:
    """Yield every fault that can be planted in a graph.

    Parameters
    ----------
    model
        With QDQ pairs, or with operators on integers.
    reference
        The network that it was made of.
    observe
        Returns what the layers of a changed graph compute.
    """
    graph = _Constants(model)
    products = {at: node for at, node in enumerate(model.graph.node) if node.op_type in _PRODUCTS}
    ranges = {at: graph.output_scale(node) for at, node in products.items()}
    names = {at: [_plain(output) for output in node.output] for at, node in enumerate(model.graph.node)}
    owners = {at: tuple(name for name in found if name in reference.wanted) for at, found in names.items()}

    def changing(change: Callable[[onnx.ModelProto], None]) -> Callable[[], Values]:
        def run() -> Values:
            changed = onnx.ModelProto()
            changed.CopyFrom(model)
            change(changed)
            return observe(changed)

        return run

    for at, node in products.items():
        path = graph.path(node, 3 if node.op_type == "QLinearConv" else 1)
        weight = graph.content(node, path)
        if not owners[at] or weight is None or weight.ndim < 2:
            continue
        axis = 0 if node.op_type in _CONVOLUTIONS else weight.ndim - 1
        for fault, turn in TURNS.items():
            if differs(weight, turned := turn(weight, axis)):
                yield Planted(fault, owners[at], changing(partial(_give, at=at, path=path, content=turned)))
        if (path := graph.scale_path(node, path)) and (scale := graph.content(node, path)) is not None:
            larger = (scale * np.float32(SCALED)).astype(scale.dtype)
            yield Planted(Fault.SCALE, owners[at], changing(partial(_give, at=at, path=path, content=larger)))
        if (name := ranges[at]) is not None:
            # Several layers may have one range. Their readers are changed too: biases of integer layers are multiples
            # of the scales of input and weights, and what is moved only keeps its range.
            having = [other for other, found in ranges.items() if found == name]
            having += [reader for other in (*having,) for reader in graph.readers(products[other])]
            belongs = tuple(dict.fromkeys(owner for other in having for owner in owners[other]))
            yield Planted(Fault.RANGE, belongs, changing(partial(_narrow, name=name)))


class _Constants:
    """The constants behind what operators read."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._held = {tensor.name: tensor for tensor in model.graph.initializer}
        self._made = {output: node for node in model.graph.node for output in node.output}
        self._nodes = list(model.graph.node)

    def path(self, node: NodeProto, place: int) -> tuple[int, ...]:
        """Return the places to follow from an operator to the constant that one of its inputs is computed from."""
        places, name = [place], node.input[place]
        while name not in self._held and name in self._made and self._made[name].input:
            places.append(0)
            name = self._made[name].input[0]
        return tuple(places)

    def content(self, node: NodeProto, path: Sequence[int]) -> np.ndarray | None:
        """Return the constant at the end of a path; `None` where there is none."""
        for place in path[:-1]:
            node = self._made[node.input[place]]
        tensor = self._held.get(node.input[path[-1]])
        return None if tensor is None else numpy_helper.to_array(tensor)

    def scale_path(self, node: NodeProto, path: Sequence[int]) -> tuple[int, ...]:
        """Return the path to the scale of a weight, whose own is given; empty where it has none."""
        if node.op_type == "QLinearConv":
            return self.path(node, 4)
        for length, place in enumerate(path[:-1], 1):
            node = self._made[node.input[place]]
            if node.op_type == "DequantizeLinear":
                return (*path[:length], 1)
        return ()

    def readers(self, node: NodeProto) -> list[int]:
        """Return the places of the operators that read an operator's outputs, the pairs between them included."""
        found = [at for at, other in enumerate(self._nodes) if not set(node.output).isdisjoint(other.input)]
        pairs = [self._nodes[at] for at in found if self._nodes[at].op_type in _PAIRS]
        return found + [behind for pair in pairs for behind in self.readers(pair)]

    def output_scale(self, node: NodeProto) -> str | None:
        """Return the constant that an output's scale is, or is computed from; `None` of floats."""
        writers = [node, *(self._nodes[place] for place in self.readers(node))]
        writer = next((w for w in writers if w.op_type in {"QLinearConv", "QuantizeLinear"}), None)
        if writer is None:
            return None
        name = writer.input[_SCALES_AT[writer.op_type]]
        while name not in self._held and name in self._made:
            name = self._made[name].input[0]
        return name if name in self._held else None


def _give(model: onnx.ModelProto, at: int, path: Sequence[int], content: np.ndarray) -> None:
    """Give one operator a constant of its own, and copies of what lies between: constants are shared."""
    made = {output: node for node in model.graph.node for output in node.output}
    nodes = list(model.graph.node)
    reader, between = nodes[at], list[NodeProto]()
    for place in path[:-1]:
        copied = NodeProto()
        copied.CopyFrom(made[reader.input[place]])
        reader.input[place] = copied.output[0] = copied.name = f"{reader.input[place]}{_OWN}"
        between.insert(0, copied)
        reader = copied
    reader.input[path[-1]] = name = f"{reader.input[path[-1]]}{_OWN}"
    model.graph.initializer.append(numpy_helper.from_array(content, name))
    read = {name for node in (*nodes, *between) for name in node.input} | {output.name for output in model.graph.output}
    del model.graph.node[:]
    # A pair that nobody reads any more would be left to the CPU where a compiler takes the rest.
    model.graph.node.extend(n for n in (*nodes[:at], *between, *nodes[at:]) if not read.isdisjoint(n.output))


def _narrow(model: onnx.ModelProto, name: str) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    content = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((content * np.float32(NARROWED)).astype(content.dtype), name))
