"""FiLM inside INT8 convolutions: a condition scales their weights' steps and shifts their bias, not their output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pocketcrafter.export.lower.onnx_graph import Readers, keep_needed, makers_of, only_reader, readers_of

_LEAST: Final = 1e-3
"""A smaller factor would ask for a bias beyond 32 bits, and changes nothing that is stored in 8."""

_ROUNDING: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_AXES: Final = 4
_SMALLEST: Final = "film.smallest"
_CHANNELS: Final = "film.channels"


@dataclass(frozen=True)
class _Film:
    """``quantize(convolution(x) * factor + shift)``, the convolution's input and weights quantized."""

    data: NodeProto
    weight: NodeProto
    bias: NodeProto
    convolution: NodeProto
    factor: str
    shift: str
    result: NodeProto


def film_in_convolutions(model: ModelProto) -> ModelProto:
    """Return a QDQ model in which convolutions do the FiLM behind them (Perez et al., AAAI 2018).

    A factor for each channel is a factor of its weights' step, which ONNX Runtime takes while it runs; the shift goes
    into the bias. Two passes over every value go, with their roundings to 8 bits.

    Parameters
    ----------
    model
        As :func:`pocketcrafter.quantize.qdq.quantize_onnx` writes it; left as it is.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    makers, readers = makers_of(graph), readers_of(graph)
    found = [film for node in graph.node if (film := _film(node, graph, makers, readers)) is not None]
    if not found:
        return made
    constants = {_SMALLEST: np.array(_LEAST, np.float32), _CHANNELS: np.array([-1], np.int64)}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    computed = {film.result.output[0]: _conditioned(film) for film in found}
    keep_needed(graph, [new for node in graph.node for new in computed.get(node.output[0], [node])])
    return made


def _film(node: NodeProto, graph: GraphProto, makers: Mapping[str, NodeProto], readers: Readers) -> _Film | None:
    if node.op_type != "Conv" or len(node.input) != 3:
        return None
    sources = [makers.get(name) for name in node.input]
    if any(source is None or source.op_type != "DequantizeLinear" for source in sources):
        return None
    factor = _joined(_rounded(node, readers), "Mul", readers)
    shift = None if factor is None else _joined(_rounded(factor[0], readers), "Add", readers)
    result = None if shift is None else only_reader(shift[0], "QuantizeLinear", readers)
    if factor is None or shift is None or result is None:
        return None
    if not all(_is_by_channel(operand, graph, makers) for _, operand in (factor, shift)):
        return None
    data, weight, bias = (source for source in sources if source is not None)
    return _Film(data, weight, bias, node, factor[1], shift[1], result)


def _conditioned(film: _Film) -> list[NodeProto]:
    """Return the nodes that compute what a FiLM's last quantization gave."""
    stem = f"{film.convolution.name}/film"
    data, step, zero = film.data.input
    levels, steps, zeros = film.weight.input
    names = iter(range(100))

    def compute(operator: str, *inputs: str, **attributes: int) -> str:
        nodes.append(helper.make_node(operator, inputs, [f"{stem}/{next(names)}"], **attributes))
        nodes[-1].name = nodes[-1].output[0]
        return str(nodes[-1].output[0])

    nodes: list[NodeProto] = []
    wished, shift = (compute("Reshape", name, _CHANNELS) for name in (film.factor, film.shift))
    small = compute("Less", compute("Abs", wished), _SMALLEST)
    factor = compute("Where", small, _SMALLEST, wished)
    scales = compute("Mul", steps, factor)
    bias = compute("Add", compute("Mul", film.bias.output[0], factor), shift)
    rounded = compute("Round", compute("Div", bias, compute("Mul", step, scales)))
    whole = compute("Cast", rounded, to=TensorProto.INT32)
    inputs = [data, step, zero, levels, scales, zeros, *film.result.input[1:], whole]
    made = helper.make_node("QLinearConv", inputs, film.result.output, name=film.convolution.name)
    made.attribute.extend(film.convolution.attribute)
    return [*nodes, made]


def _is_by_channel(name: str, graph: GraphProto, makers: Mapping[str, NodeProto]) -> bool:
    """Whether a value is a vector, made into one number for each channel of a picture and rounded or not."""
    node = makers.get(name)
    while node is not None and node.op_type in _ROUNDING:
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Reshape":
        return False
    shapes = [numpy_helper.to_array(tensor).tolist() for tensor in graph.initializer if tensor.name == node.input[1]]
    return bool(shapes) and len(shapes[0]) == _AXES and shapes[0][0] in (1, -1) and shapes[0][2:] == [1, 1]


def _joined(node: NodeProto | None, kind: str, readers: Readers) -> tuple[NodeProto, str] | None:
    """Return the operator of a kind that alone reads a node, and its other operand."""
    found = only_reader(node, kind, readers)
    if node is None or found is None:
        return None
    (other,) = (name for name in found.input if name != node.output[0])
    return found, other


def _rounded(node: NodeProto, readers: Readers) -> NodeProto | None:
    """Return what reads a node's value back after it was rounded."""
    return only_reader(only_reader(node, "QuantizeLinear", readers), "DequantizeLinear", readers)
