"""What each operator of an artifact computes, by runtime: every value that has the name of a torch operator."""

import re
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Final

import onnx
from onnx import NodeProto, helper

from pocketcrafter.benchmarks.bisect.litert import observe_litert
from pocketcrafter.benchmarks.bisect.reference import Reference, Values
from pocketcrafter.benchmarks.bisect.xnnpack import observe_xnnpack
from pocketcrafter.export.lower.coreml.session import layer_values
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

Observe = Callable[[Path, ComponentSpec, Mapping[str, FloatArray], Reference], Values]
"""Takes an artifact, its contract, inputs by name, and the network that it was made of."""

_QUANTIZED: Final = "_QuantizeLinear_Output"
_DEQUANTIZED: Final = "_DequantizeLinear_Output"
_SEEN: Final = "/seen"
_SHUFFLED: Final = "node_pixel_shuffle"
"""In names of what our lowering makes of a shuffle: whole blocks are moved."""
_NUMBER: Final = re.compile(r"_\d+$")
_LAYERS: Final = frozenset({"conv2d", "linear"})
"""What the exporter adds none of."""
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

    Raises
    ------
    BackendError
        If ONNX Runtime cannot run it.
    """
    model = onnx.load(artifact)
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
    outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in {*shown.values()} - outputs)
    wanted = list(shown)
    try:
        session = open_session(model.SerializeToString())
        feeds = {tensor.name: inputs[tensor.name] for tensor in spec.inputs}
        values = session.run([shown[name] for name in wanted], feeds)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise BackendError(f"{artifact}: ONNX Runtime cannot show its layers: {error}") from error
    return {name: value for name, value in zip(wanted, values, strict=True) if value.dtype.kind == "f"}


def _kept(model: onnx.ModelProto, names: frozenset[str]) -> frozenset[str]:
    """Return the names but those that the exporter gives anew: it writes ``rsub`` as ``sub``, and numbers all of them.

    Such a kind has a number that torch does not have.
    """
    values = {_plain(value) for node in model.graph.node for value in node.output}
    renumbered = {_NUMBER.sub("", value) for value in values - names} - _LAYERS
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


def observe_mil(artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference) -> Values:
    """Interpret a Core ML package, each layer rounded to its declared type.

    Raises
    ------
    BackendError
        If it cannot be read or does not keep the spec.
    """
    return by_torch_names(layer_values(artifact, spec, inputs), reference.wanted)


def by_torch_names(made: Values, names: Set[str]) -> Values:
    """Return the values of a MIL program's layers that have names of torch operators, under these names."""
    return {found: value for layer, value in made.items() if (found := torch_name(layer, names)) is not None}


def torch_name(layer: str, names: Set[str]) -> str | None:
    """Return the torch operator that a MIL layer stands for; `None` where it has another's name.

    coremltools calls the first linear layer ``linear_0`` where torch has ``linear``.
    """
    return next((name for name in (layer, layer.removesuffix("_0")) if name in names), None)


OBSERVERS: Final[Mapping[BackendName, Observe]] = {
    BackendName.ONNXRUNTIME: observe_onnx,
    BackendName.MIL_INTERPRETER: observe_mil,
    BackendName.EXECUTORCH: observe_xnnpack,
    BackendName.LITERT: observe_litert,
}
"""Runtimes whose layers can be seen. QNN's contexts and Core AI's assets are compiled whole."""
