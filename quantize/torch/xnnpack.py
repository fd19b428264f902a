"""The PT2E quantizer for XNNPACK: which operators become INT8, and the number formats of their inputs and outputs.

Its observers choose a range by the configured method, and fake-quantize with a switch.
"""

from itertools import pairwise
from typing import Any, Final

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer_utils import propagate_annotation
from torch import Tensor
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import FakeQuantize, MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

from pocketcrafter.quantize.algorithms.ranges import activation_range, sampled_indices
from pocketcrafter.quantize.config import ActivationRange, MinMax, StaticInt8
from pocketcrafter.quantize.modules import is_within

_INITIAL_SAMPLES: Final = 32
"""Calibration samples that memory is reserved for at first."""
_aten = torch.ops.aten
_TRANSPOSED: Final = _aten.conv_transpose2d.input
_WEIGHTED: Final = frozenset({_aten.conv2d.default, _aten.linear.default, _TRANSPOSED})
_JOINING: Final = frozenset({_aten.add.Tensor, _aten.mul.Tensor})
_FUSED: Final = frozenset({_aten.relu.default, _aten.hardtanh.default})
"""Activations that XNNPACK fuses into the operator before them (ReLU6 is exported as hardtanh)."""
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
"""Operators allowed between an INT8 layer and an addition or multiplication that is INT8 as well."""
_ANNOTATION: Final = "quantization_annotation"
# The 2⁻¹² of ExecuTorch's own quantizer rounds tensors to 0 whose values are small everywhere. A much smaller minimum
# would give an output that is always 0 a requantization factor above XNNPACK's limit of 256.
_MIN_SCALE: Final = 2.0**-16


class RangeObserver(MinMaxObserver):  # type: ignore[misc] # torchao is untyped
    """Keeps a sample of the values it observes, and chooses the range from them when it is asked for it.

    Parameters
    ----------
    choose
        The method.
    **settings
        As of torchao's ``MinMaxObserver``.
    """

    def __init__(self, choose: ActivationRange, **settings: Any) -> None:  # noqa: ANN401 - torchao's own
        super().__init__(**settings)
        self.choose = choose
        self._kept = torch.empty(0)
        self._ends = [0]
        self._values = 0

    def forward(self, x: Tensor) -> Tensor:
        """Observe a tensor, and return it."""
        self._values = max(self._values, x.numel())
        if not isinstance(self.choose, MinMax) and x.numel():
            flat = x.detach().reshape(-1)
            extremes = torch.stack([flat.min(), flat.max()])
            self._keep(torch.cat([flat[sampled_indices(flat.numel())], extremes]))
        observed: Tensor = super().forward(x)
        return observed

    def _keep(self, values: Tensor) -> None:
        """Append values to one buffer that doubles when it is full.

        Small tensors allocated between large activations fragment the heap: one gibibyte of activations took four.
        """
        start, end = self._ends[-1], self._ends[-1] + values.numel()
        if end > self._kept.numel():
            larger = torch.empty(max(2 * self._kept.numel(), _INITIAL_SAMPLES * values.numel()))
            larger[:start] = self._kept[:start]
            self._kept = larger
        self._kept[start:end] = values
        self._ends.append(end)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point of the chosen range."""
        if not self._values:
            return _pair(super().calculate_qparams())
        kept = [self._kept[start:end] for start, end in pairwise(self._ends)]
        if not kept:
            kept = [torch.stack([self.min_val, self.max_val])]
        low, high = activation_range(self.choose, kept, self._values)
        return _pair(self._calculate_qparams(torch.tensor(float(low)), torch.tensor(float(high))))


class SwitchableFakeQuantize(FakeQuantize):  # type: ignore[misc] # likewise
    """Fake quantization that first observes, then has fixed activation ranges and can be switched on and off.

    The scales of weights follow the weights, so that a network can be trained through it.
    """

    def settle(self) -> None:
        """Fix the range of an activation to what was observed, and stop observing."""
        self.disable_observer()
        if not self.is_per_channel:
            self._take(*_pair(self.calculate_qparams()))

    def forward(self, x: Tensor) -> Tensor:
        """Observe, or fake-quantize."""
        if self.observer_enabled[0]:
            self.activation_post_process(x.detach())
            return x
        if self.is_per_channel and self.fake_quant_enabled[0]:
            self.activation_post_process.reset_min_max_vals()
            self.activation_post_process(x.detach())
            self._take(*_pair(self.calculate_qparams()))
        rounded: Tensor = super().forward(x)
        return rounded

    def _take(self, scale: Tensor, zero_point: Tensor) -> None:
        self.scale, self.zero_point = scale.detach(), zero_point.detach().int()


def _pair(found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return found


def _observing(observer: Any, *, switchable: bool, **settings: Any) -> Any:  # noqa: ANN401 - torchao is untyped
    """Return a factory of observers, or of switchable fake quantization around them."""
    if switchable:
        return SwitchableFakeQuantize.with_args(observer=observer, eps=_MIN_SCALE, **settings)
    return observer.with_args(eps=_MIN_SCALE, **settings)


def _activation(choose: ActivationRange, *, switchable: bool) -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=_observing(RangeObserver, switchable=switchable, choose=choose),
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


class XnnpackQuantizer(Quantizer):  # type: ignore[misc] # torchao is untyped
    """Quantizes layers with weights, and additions and multiplications whose operands all come from INT8 layers.

    ExecuTorch's own quantizer makes either none of the latter INT8, at the cost of a dequantize and a quantize each, or
    all of them, including a picture's residual and the epsilon of a statistic.

    Parameters
    ----------
    scheme
        The range method of activations, and modules that stay float32. The model's inputs always range from minimum to
        maximum: an 8-bit picture then loses nothing.
    switchable
        Whether to insert switchable fake quantization in place of observers, for training and sensitivity analysis.
    """

    def __init__(self, scheme: StaticInt8, *, switchable: bool = False) -> None:
        super().__init__()
        self._kept = scheme.keep_fp32
        self._activation = _activation(scheme.range, switchable=switchable)
        self._input = _activation(MinMax(), switchable=switchable)
        self._weights = {axis: _weight(axis, switchable=switchable) for axis in (0, 1)}

    def annotate(self, model: GraphModule) -> GraphModule:
        """Annotate the nodes; called by ``prepare_pt2e``."""
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
        # The second argument is the weight or the other operand; XNNPACK converts the float32 bias to INT32 itself.
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
    """Skip operators that only move or bend values, up to the layer whose output they take."""
    while isinstance(operand, Node) and operand.target in _PASSING:
        operand = operand.args[0]
    return operand if isinstance(operand, Node) else None


def _inside(node: Node, modules: tuple[str, ...]) -> bool:
    names = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
    return any(is_within(name, modules) for name in names)
