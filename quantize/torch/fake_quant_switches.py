"""A fake-quantized network whose modules are quantized at a switch: for sensitivity analysis and training (QAT).

It is calibrated once. PT2E prepares it with the quantizer that artifacts are built with, and inserts switchable fake
quantization in place of observers.
"""

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

from pocketcrafter.quantize.calibration import check_samples
from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.quantize.modules import check_modules, is_within, outputs_of
from pocketcrafter.quantize.torch.xnnpack import SwitchableFakeQuantize, XnnpackQuantizer, annotated_module

_DEFAULT: Final = StaticInt8()


class FakeQuantSwitches:
    """A calibrated network and the switches of its modules, all on at first.

    Parameters
    ----------
    model
        In evaluation mode, without BatchNorm; not modified.
    calibration
        Tuples of float32 inputs, in calling order, all of one shape.
    scheme
        The range method, and modules that have no switch: they stay float32.
    progress
        Called with samples done and samples in all.

    Attributes
    ----------
    graph
        The prepared network; its parameters have the names of the model's.
    modules
        Qualified names of the modules that have a switch, in graph order.

    Raises
    ------
    CalibrationError
        If calibration has too few samples or a constant input.
    ConfigError
        If a name in ``keep_fp32`` is not a module.
    """

    def __init__(
        self,
        model: nn.Module,
        calibration: Sequence[tuple[Tensor, ...]],
        scheme: StaticInt8 = _DEFAULT,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        check_samples([{f"number {i}": t.numpy() for i, t in enumerate(sample)} for sample in calibration])
        check_modules(model, scheme.keep_fp32)
        with torch.no_grad():
            # Export shares parameters with the model: without the copy, training would change the model itself.
            program = torch.export.export(copy.deepcopy(model), tuple(calibration[0]))
            self.graph: GraphModule = prepare_qat_pt2e(program.module(), XnnpackQuantizer(scheme, switchable=True))
            self._points = _points(self.graph)
            self.modules = tuple(dict.fromkeys(name for owners in self._points.values() for name in owners))
            for done, sample in enumerate(calibration, start=1):
                self.graph(*sample)
                if progress is not None:
                    progress(done, len(calibration))
        for point in self._points:
            point.settle()
        self.only(self.modules)

    def only(self, names: Collection[str]) -> None:
        """Quantize these modules, with everything below them, and nothing else."""
        chosen = tuple(names)
        self._quantize({name for name in self.modules if is_within(name, chosen)})

    def all_but(self, names: Collection[str]) -> None:
        """Quantize everything but these modules and what lies below them."""
        kept = tuple(names)
        self._quantize({name for name in self.modules if not is_within(name, kept)})

    def only_kind(self, *, weights: bool) -> None:
        """Quantize the weights of all modules and no activations, or all activations and no weights."""
        for point in self._points:
            point.enable_fake_quant(point.is_per_channel == weights)

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Run the network with the current switches, without gradients."""
        with torch.no_grad():
            return outputs_of(self.graph(*inputs))

    def _quantize(self, chosen: Collection[str]) -> None:
        for point, owners in self._points.items():
            point.enable_fake_quant(any(owner in chosen for owner in owners))


def _points(graph: GraphModule) -> dict[SwitchableFakeQuantize, tuple[str, ...]]:
    """Map each fake quantization to its modules: the one that produces the value, and those that read it."""
    found: dict[SwitchableFakeQuantize, tuple[str, ...]] = {}
    for node in graph.graph.nodes:
        if node.op != "call_module":
            continue
        point = graph.get_submodule(str(node.target))
        if not isinstance(point, SwitchableFakeQuantize):
            continue
        near = [node.args[0], *node.users]
        owners = [annotated_module(n) for n in near if isinstance(n, Node)]
        found[point] = (*found.get(point, ()), *(name for name in owners if name is not None))
    return found
