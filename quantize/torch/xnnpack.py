"""Which operators XNNPACK computes in INT8, and the number formats on their edges."""

from typing import Any, Final

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer_utils import propagate_annotation
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

from pocketcrafter.quantize.algorithms.ranges import SHIPPED, Range
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.quantize.torch.observers import RangeObserver, Switch

_aten = torch.ops.aten
_TRANSPOSED: Final = _aten.conv_transpose2d.input
_WEIGHTED: Final = frozenset({_aten.conv2d.default, _aten.linear.default, _TRANSPOSED})
_JOINING: Final = frozenset({_aten.add.Tensor, _aten.mul.Tensor})
_FUSED: Final = frozenset({_aten.relu.default, _aten.hardtanh.default})
"""Activations that XNNPACK computes within the operator before them (ReLU6 is exported as hardtanh)."""
_PASSING: Final = _FUSED | {
    _aten.hardswish.default,
    _aten.clamp.default,
    _aten.reshape.default,
    _aten.view.default,
    _aten.flatten.using_ints,
    _aten.pixel_shuffle.default,
    _aten.pixel_unshuffle.default,
    _aten.max_pool2d.default,
    _aten.slice.Tensor,
}
"""What may stand between an INT8 layer and an addition or multiplication that is INT8 as well."""

_ANNOTATION: Final = "quantization_annotation"

# Finer than the 2⁻¹² of ExecuTorch's own scheme, which rounds away weights and outputs that are small everywhere; not
# so fine that an output that is always zero asks for a requantization factor above XNNPACK's limit of 256.
_SMALLEST_SCALE: Final = 2.0**-16


def _observing(observer: Any, *, switchable: bool, **settings: Any) -> Any:  # noqa: ANN401 - torchao is untyped
    """Return what makes an observer, or a switch around one."""
    if switchable:
        return Switch.with_args(observer=observer, eps=_SMALLEST_SCALE, **settings)
    return observer.with_args(eps=_SMALLEST_SCALE, **settings)


def _activation(ranges: Range, *, switchable: bool) -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=_observing(RangeObserver, switchable=switchable, choose=ranges),
        quant_min=-128,
        quant_max=127,
        qscheme=torch.per_tensor_affine,
        is_dynamic=False,
    )


def _weight(axis: int, *, switchable: bool) -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=_observing(PerChannelMinMaxObserver, switchable=switchable),
        quant_min=-127,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=axis,
        is_dynamic=False,
    )


class XnnpackScheme(Quantizer):  # type: ignore[misc] # torchao is untyped
    """Layers with weights, and additions and multiplications whose operands all come from INT8 layers.

    ExecuTorch's own quantizer has no rule for the latter: it makes either none of them INT8 (each then costs a
    dequantize and a quantize) or all, the residual of a picture and a statistic's epsilon included.

    Parameters
    ----------
    keep_fp32
        Qualified names of modules that stay float32 with everything below them.
    ranges
        How the ranges of activations are chosen, but for the model's inputs, which are wholly within theirs: a picture
        of 8 bits then loses nothing.
    switchable
        Whether fake quantization stands where observers do, for a network that is still to be trained or tried out.
    """

    def __init__(self, keep_fp32: tuple[str, ...], *, ranges: Range = SHIPPED, switchable: bool = False) -> None:
        super().__init__()
        self._kept = keep_fp32
        self._activation = _activation(ranges, switchable=switchable)
        self._input = _activation(Range.MIN_MAX, switchable=switchable)
        self._weights = {axis: _weight(axis, switchable=switchable) for axis in (0, 1)}

    def annotate(self, model: GraphModule) -> GraphModule:
        """Mark the nodes; called by ``prepare_pt2e``."""
        chosen: set[Node] = set()
        for node in model.graph.nodes:
            if self._becomes_int8(node, chosen):
                chosen.add(node)
                self._annotate(node)
        propagate_annotation(model)
        return model

    def validate(self, model: GraphModule) -> None:
        """Accept every annotation: all are this class's own."""

    def _becomes_int8(self, node: Node, chosen: set[Node]) -> bool:
        if _inside(node, self._kept):
            return False
        joins = node.target in _JOINING and all(_source(operand) in chosen for operand in node.args[:2])
        return joins or node.target in _WEIGHTED

    def _annotate(self, node: Node) -> None:
        operands: dict[Any, QuantizationSpec] = {node.args[0]: self._spec_of(node.args[0])}
        # The weight or the second operand; a bias stays float32 and XNNPACK makes it INT32.
        weight = self._weights[1 if node.target is _TRANSPOSED else 0]
        operands[node.args[1]] = weight if node.target in _WEIGHTED else self._spec_of(node.args[1])
        last = _fused_activation(node) or node
        node.meta[_ANNOTATION] = QuantizationAnnotation(
            input_qspec_map=operands, output_qspec=self._activation if last is node else None, _annotated=True
        )
        if last is not node:
            last.meta[_ANNOTATION] = QuantizationAnnotation(output_qspec=self._activation, _annotated=True)

    def _spec_of(self, operand: Any) -> QuantizationSpec:  # noqa: ANN401 - an fx argument
        source = _source(operand)
        return self._input if source is not None and source.op == "placeholder" else self._activation


def annotated_module(node: Node) -> str | None:
    """Return the qualified name of the module that a quantized node comes from, `None` for any other node."""
    annotation = node.meta.get(_ANNOTATION)
    if annotation is None or not annotation.input_qspec_map:
        return None
    names = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
    return str(names[-1]) if names else ""


def _fused_activation(node: Node) -> Node | None:
    readers = list(node.users)
    return readers[0] if len(readers) == 1 and readers[0].target in _FUSED else None


def _source(operand: Any) -> Node | None:  # noqa: ANN401 - an fx argument
    """Go up through operators that only move or bend values."""
    while isinstance(operand, Node) and operand.target in _PASSING:
        operand = operand.args[0]
    return operand if isinstance(operand, Node) else None


def _inside(node: Node, modules: tuple[str, ...]) -> bool:
    names = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
    return any(is_within(name, modules) for name in names)
