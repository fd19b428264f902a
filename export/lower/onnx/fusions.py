"""Fuses subgraphs of an exported language model into ONNX Runtime's contrib operators."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx import ModelProto
from onnxscript.rewriter import pattern, rewrite

_CONTRIB: Final = "com.microsoft"

_Op: TypeAlias = pattern.OpsetPatternBuilder
_Array: TypeAlias = npt.NDArray[np.generic]


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
