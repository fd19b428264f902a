"""Rewrites of ONNX graphs for ONNX Runtime's kernels: the same numbers in fewer or faster operators.

Operators that it would fuse are fused; channel factors are folded into INT8 convolutions, whose scales they multiply;
pixel shuffles copy whole pixels in the NHWC layout of its INT8 tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.shape_inference import infer_shapes
from onnxscript.rewriter import pattern, rewrite

from pocketcrafter.export.lower.onnx.coverage import shapes_of
from pocketcrafter.quantize.onnx.graph import Readers, constants_of, keep_needed, makers_of, only_reader, readers_of

_CONTRIB: Final = "com.microsoft"

_Op: TypeAlias = pattern.OpsetPatternBuilder
_Array: TypeAlias = npt.NDArray[np.generic]
_ROUNDING: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_AXES: Final = 4
_STEM: Final = "conditioned"
_UNSHUFFLED: Final = [0, 1, 3, 5, 2, 4]
"""How torch's exporter orders axes where it spells out a pixel unshuffle: two sides of a pixel behind its channels."""
_WHOLE: Final = 4
"""Pixels are padded to a multiple of this many channels: ONNX Runtime's INT8 kernels process 16 output columns at a
time (12 outputs take twice as long as 16), and copying three bytes a pixel is done byte by byte."""


def fused(model: ModelProto, selector: str | None = None) -> ModelProto:
    """Return a model with one operator for each sum with its RMS normalization and for each rotation by a position.

    A step of a decoder is hundreds of operators on short vectors, each of which takes longer to start than to run.

    Parameters
    ----------
    model
        What ``torch.onnx.export(..., dynamo=True)`` made of `pocketcrafter.export.models.decoder.Decoder`, its linear
        layers quantized or not; left as it is.
    selector
        The input that says which position a step is of, one-hot, where there is one. With any other values the model
        that is returned computes something else.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    rules = [pattern.RewriteRule(_norm_spelled, _norm, _is_mean)]
    if selector is not None:
        rules.append(_rotation_rule(selector))
    made: ModelProto = rewrite(copy, pattern_rewrite_rules=rules)
    return made


def _norm_spelled(
    op: _Op, old: ir.Value, new: ir.Value, epsilon: ir.Value, shares: ir.Value, weight: ir.Value
) -> object:
    x = op.Add(old, new)
    return op.Mul(op.Div(x, op.Sqrt(op.MatMul(op.Add(op.Mul(x, x), epsilon), shares))), weight), x


def _is_mean(context: object, epsilon: ir.Value, shares: ir.Value, **_: object) -> bool:
    del context
    each = _constant(shares)
    return _constant(epsilon).size == 1 and each.size > 0 and np.allclose(each, 1 / each.size)


def _norm(op: _Op, old: ir.Value, new: ir.Value, epsilon: ir.Value, weight: ir.Value, **_: object) -> object:
    normed, *unused, total = op.SkipSimplifiedLayerNormalization(
        old, new, weight, epsilon=_constant(epsilon).item(), _domain=_CONTRIB, _outputs=4
    )
    for output in unused:
        output.name = ""
    return normed, total


def _rotation_rule(selector: str) -> pattern.RewriteRule:
    """Return what makes one operator of the halves of each head, turned by the row that a selector picks of tables."""

    def spelled(
        op: _Op,
        x: ir.Value,
        heads: ir.Value,
        cosine: ir.Value,
        sine: ir.Value,
        start: ir.Value,
        half: ir.Value,
        end: ir.Value,
        axis: ir.Value,
        step: ir.Value,
    ) -> object:
        wide = op.Reshape(x, heads, _allow_other_attributes=True)
        first, second = op.Slice(wide, start, half, axis, step), op.Slice(wide, half, end, axis, step)
        turned = op.Sub(op.Mul(first, cosine), op.Mul(second, sine))
        return op.Concat(turned, op.Add(op.Mul(second, cosine), op.Mul(first, sine)), axis=2)

    def applies(
        context: object,
        heads: ir.Value,
        cosine: ir.Value,
        sine: ir.Value,
        start: ir.Value,
        half: ir.Value,
        **_: object,
    ) -> bool:
        del context
        bounds = [_constant(bound).tolist() for bound in (start, half)]
        picked = [_picked(row, selector) for row in (cosine, sine)]
        return all(picked) and _constant(heads).size == 3 and bounds == [[0], [_constant(heads)[2] // 2]]

    def rotated(op: _Op, x: ir.Value, heads: ir.Value, cosine: ir.Value, sine: ir.Value, **others: object) -> object:
        del others
        (position, *tables), (_, *of_sines) = (_picked(row, selector) for row in (cosine, sine))
        tables += of_sines
        row = op.Reshape(x, op.Constant(value_ints=[1, 1, -1]))
        place, count = op.ArgMax(position, axis=1, keepdims=1), int(_constant(heads)[0])
        return op.Reshape(op.RotaryEmbedding(row, place, *tables, num_heads=count, _domain=_CONTRIB), heads)

    return pattern.RewriteRule(spelled, rotated, applies)


def _picked(row: ir.Value, selector: str) -> tuple[ir.Value, ...]:
    """Return a selector and the table that it picks a row of; nothing where the row is of something else."""
    product = [made for value in _operands("Reshape", row)[:1] for made in _operands("MatMul", value)]
    return tuple(product) if product and product[0].name == selector else ()


def _operands(kind: str, value: ir.Value) -> list[ir.Value]:
    """Return what an operator of some kind made a value of; nothing where another did."""
    node = value.producer()
    return [] if node is None or node.op_type != kind else [one for one in node.inputs if one is not None]


def _constant(value: ir.Value) -> _Array:
    """Return a constant; an array of nothing where a value is none."""
    return np.empty(0) if value.const_value is None else value.const_value.numpy()


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


def shuffled_whole(model: ModelProto) -> ModelProto:
    """Return an equal model whose pixel shuffles move a pixel's channels together.

    The output channels of the convolution before a shuffle are reordered, so that the channels of one output pixel are
    adjacent and the shuffle copies contiguous bytes. Where a pixel is padded to more channels, the padding is cut off
    after the shuffle.

    Parameters
    ----------
    model
        What ``torch.onnx.export(..., dynamo=True)`` wrote, in float32 and with static shapes; left as it is.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    shapes, makers, readers = shapes_of(made), makers_of(graph), readers_of(graph)
    new: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "DepthToSpace" and helper.get_node_attr_value(node, "mode") == b"CRD":
            source, factor = makers.get(node.input[0]), helper.get_node_attr_value(node, "blocksize")
            if (
                source is not None
                and only_reader(source, node.op_type, readers)
                and _reorder(graph, readers, source, 0, factor)
            ):
                new[node.output[0]] = _together(graph, node, shapes[node.output[0]], factor)
        elif node.op_type == "Transpose" and helper.get_node_attr_value(node, "perm") == _UNSHUFFLED:
            before, behind = makers.get(node.input[0]), only_reader(node, "Reshape", readers)
            reader = only_reader(behind, "Conv", readers)
            factor = shapes[node.input[0]][3]
            square = factor == shapes[node.input[0]][5]
            if before and behind and reader and square and _reorder(graph, readers, reader, 1, factor):
                whole = helper.make_node(
                    "SpaceToDepth", [before.input[0]], list(behind.output), name=behind.name, blocksize=factor
                )
                whole.metadata_props.extend(behind.metadata_props)
                new[behind.output[0]] = [whole]
    keep_needed(graph, [one for node in graph.node for one in new.get(node.output[0], [node])])
    # Filled pixels have other shapes.
    del graph.value_info[:]
    inferred: ModelProto = infer_shapes(made)
    return inferred


def _reorder(graph: GraphProto, readers: Readers, convolution: NodeProto, axis: int, factor: int) -> bool:
    """Put a convolution's output channels (axis 0 of its weight) or input channels (1) in the order of whole pixels.

    From ``(channel, row, column)`` to ``(row, column, channel)``, output channels filled up with zeros. Returns whether
    that could be done.
    """
    constants = constants_of(graph)
    changed = convolution.input[1:] if axis == 0 else convolution.input[1:2]
    group = next((attribute.i for attribute in convolution.attribute if attribute.name == "group"), 1)
    if convolution.op_type != "Conv" or group != 1 or any(n not in constants or len(readers[n]) > 1 for n in changed):
        return False
    for name in changed:
        values = numpy_helper.to_array(constants[name])
        pixels = np.moveaxis(values, axis, 0).reshape(-1, factor**2, *np.delete(values.shape, axis)).swapaxes(0, 1)
        if axis == 0:
            more = _filled(pixels.shape[1]) - pixels.shape[1]
            pixels = np.pad(pixels, [(0, 0), (0, more), *[(0, 0)] * (pixels.ndim - 2)])
        made = np.moveaxis(pixels.reshape(-1, *pixels.shape[2:]), 0, axis)
        constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(made), name))
    return True


def _filled(channels: int) -> int:
    return -(-channels // _WHOLE) * _WHOLE


def _together(graph: GraphProto, node: NodeProto, shape: Sequence[int], factor: int) -> list[NodeProto]:
    """Return a shuffle in NHWC; ONNX Runtime removes its transposes, which cancel with those of its neighbors."""
    batch, channels, rows, columns = shape
    moved = _filled(channels)
    constants = {
        "parts": [batch, rows // factor, columns // factor, factor, factor * moved],
        "whole": [batch, rows, columns, moved],
    }
    steps: list[tuple[str, list[str], list[int] | None]] = [
        ("Transpose", [], [0, 2, 3, 1]),
        ("Reshape", ["parts"], None),
        ("Transpose", [], [0, 1, 3, 2, 4]),
        ("Reshape", ["whole"], None),
        ("Transpose", [], [0, 3, 1, 2]),
    ]
    if moved > channels:
        constants |= {"first": [0], "behind": [channels], "axis": [1]}
        steps.append(("Slice", ["first", "behind", "axis"], None))
    for name, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"{node.name}.{name}"))
    made: list[NodeProto] = []
    last = node.input[0]
    for number, (operator, others, order) in enumerate(steps):
        output = node.output[0] if number == len(steps) - 1 else f"{node.name}.{number}"
        inputs = [last, *(f"{node.name}.{name}" for name in others)]
        settings = {} if order is None else {"perm": order}
        made.append(helper.make_node(operator, inputs, [output], name=f"{node.name}.{number}", **settings))
        made[-1].metadata_props.extend(node.metadata_props)
        last = output
    return made
