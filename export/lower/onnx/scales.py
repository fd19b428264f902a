"""Folds FiLM-style channel factors into INT8 convolutions: the factors multiply the weights' quantization scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pocketcrafter.quantize.onnx.graph import Readers, constants_of, keep_needed, makers_of, only_reader, readers_of

_ROUNDING: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_AXES: Final = 4
_STEM: Final = "conditioned"


@dataclass(frozen=True)
class _Scaled:
    """``quantize(convolution(x) * factor)``, the convolution's input and weights quantized."""

    data: NodeProto
    weight: NodeProto
    bias: NodeProto
    convolution: NodeProto
    factor: str
    result: NodeProto


def scales_in_convolutions(model: ModelProto) -> ModelProto:
    """Return a QDQ model in which each convolution applies the channel-wise factor that follows it.

    ONNX Runtime reads the per-channel weight scales at run time, so the factor can be multiplied into them. That saves
    a pass over the tensor and one rounding to 8 bits. A bias that is not constant would forfeit that gain, because ONNX
    Runtime does not use its fast kernels for it. The scales of all convolutions are computed by one group of operators,
    because many small operators would cost more in overhead than in arithmetic. A factor that depends on another folded
    factor is left as it is.

    Parameters
    ----------
    model
        As :func:`pocketcrafter.quantize.onnx.qdq.quantize_qdq` writes it; left as it is.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    constants, makers, readers = constants_of(graph), makers_of(graph), readers_of(graph)
    found = [scaled for node in graph.node if (scaled := _scaled(node, constants, makers, readers)) is not None]
    results = {scaled.result.output[0] for scaled in found}
    sources = [_sources(scaled.factor, makers) for scaled in found]
    alone = [(scaled, before) for scaled, before in zip(found, sources, strict=True) if not before & results]
    if not alone:
        return made
    conditions = set().union(*(before for _, before in alone))
    first = [node for node in graph.node if conditions.intersection(node.output)]
    rest = [node for node in graph.node if not conditions.intersection(node.output)]
    chosen = [scaled for scaled, _ in alone]
    convolutions = {scaled.result.output[0]: _convolution(scaled) for scaled in chosen}
    new = [*first, *_steps(graph, constants, chosen), *(convolutions.get(node.output[0], node) for node in rest)]
    keep_needed(graph, new)
    return made


def _scaled(
    node: NodeProto, constants: Mapping[str, TensorProto], makers: Mapping[str, NodeProto], readers: Readers
) -> _Scaled | None:
    if node.op_type != "Conv" or len(node.input) != 3:
        return None
    sources = [makers.get(name) for name in node.input]
    if any(source is None or source.op_type != "DequantizeLinear" for source in sources):
        return None
    rounded = only_reader(only_reader(node, "QuantizeLinear", readers), "DequantizeLinear", readers)
    product = only_reader(rounded, "Mul", readers)
    result = only_reader(product, "QuantizeLinear", readers)
    if rounded is None or product is None or result is None:
        return None
    (factor,) = (name for name in product.input if name != rounded.output[0])
    if not _is_by_channel(factor, constants, makers):
        return None
    data, weight, bias = (source for source in sources if source is not None)
    return _Scaled(data, weight, bias, node, factor, result)


def _is_by_channel(name: str, constants: Mapping[str, TensorProto], makers: Mapping[str, NodeProto]) -> bool:
    """Whether a value is a vector, made into one number for each channel of a picture and rounded or not."""
    node = makers.get(name)
    while node is not None and node.op_type in _ROUNDING:
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Reshape" or node.input[1] not in constants:
        return False
    shape = numpy_helper.to_array(constants[node.input[1]]).tolist()
    return len(shape) == _AXES and shape[0] in (1, -1) and shape[2:] == [1, 1]


def _sources(name: str, makers: Mapping[str, NodeProto]) -> set[str]:
    """Return a value and all that it is computed from, apart from inputs and constants."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name in makers and name not in seen:
            seen.update(makers[name].output)
            waiting.extend(makers[name].input)
    return seen


def _steps(graph: GraphProto, constants: Mapping[str, TensorProto], found: Sequence[_Scaled]) -> list[NodeProto]:
    """Return nodes that compute the steps of all weights from their factors."""
    trained = [numpy_helper.to_array(constants[scaled.weight.input[1]]) for scaled in found]
    names = {part: f"{_STEM}.{part}" for part in ("factors", "vector", "factor", "lengths", "trained", "steps")}
    values: dict[str, npt.NDArray[np.generic]] = {
        "vector": np.array([-1], np.int64),
        "lengths": np.array([len(steps) for steps in trained], np.int64),
        "trained": np.concatenate(trained),
    }
    graph.initializer.extend(numpy_helper.from_array(value, names[part]) for part, value in values.items())
    return [
        helper.make_node("Concat", [scaled.factor for scaled in found], [names["factors"]], names["factors"], axis=1),
        helper.make_node("Reshape", [names["factors"], names["vector"]], [names["factor"]], names["factor"]),
        helper.make_node("Mul", [names["trained"], names["factor"]], [names["steps"]], names["steps"]),
        helper.make_node("Split", [names["steps"], names["lengths"]], [_step_of(s) for s in found], f"{_STEM}.split"),
    ]


def _convolution(scaled: _Scaled) -> NodeProto:
    levels, _, zeros = scaled.weight.input
    inputs = [*scaled.data.input, levels, _step_of(scaled), zeros, *scaled.result.input[1:], scaled.bias.input[0]]
    made = helper.make_node("QLinearConv", inputs, scaled.result.output, scaled.convolution.name)
    made.attribute.extend(scaled.convolution.attribute)
    return made


def _step_of(scaled: _Scaled) -> str:
    return f"{scaled.convolution.name}/step"
