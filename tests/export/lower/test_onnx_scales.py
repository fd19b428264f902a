"""Factors in INT8 convolutions: no further from full precision than as passes of their own; nothing else is one."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.export.lower.onnx.passes import scales_in_convolutions
from pocketcrafter.export.models.blocks import ScaledBlock
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.pocket import Pocket

CHANNELS = 8


class _Net(nn.Module):
    """A block behind a layer, so that all of it is INT8; some factors are negative, and one is 0."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.embed = nn.Linear(2, 4)
        self.block = ScaledBlock(CHANNELS, 4, nn.ReLU())
        with torch.no_grad():
            self.block.project.weight.normal_(0, 0.5)
            self.block.scale.weight.normal_(0, 0.5)
            self.block.scale.weight[3] = self.block.scale.bias[3] = 0

    def forward(self, x: Tensor, amounts: Tensor) -> Tensor:
        result: Tensor = self.block(self.first(x), self.embed(amounts))
        return result


class _Two(_Net):
    """Two factors in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.second = ScaledBlock(CHANNELS, 4, nn.ReLU())
        with torch.no_grad():
            for layer in (self.second.project, self.second.scale):
                layer.weight.normal_(0, 0.5)

    def condition(self, said: Tensor, y: Tensor) -> Tensor:
        """Return what the second one is conditioned by."""
        del y
        return said

    def forward(self, x: Tensor, amounts: Tensor) -> Tensor:
        said = self.embed(amounts)
        y = self.block(self.first(x), said)
        result: Tensor = self.second(y, self.condition(said, y))
        return result


class _InTurn(_Two):
    """The second one depends on what the first one made of the picture."""

    def condition(self, said: Tensor, y: Tensor) -> Tensor:
        return said + y.mean((2, 3))[:, :4]


class _Gated(_Net):
    """Multiplied by pictures, not by channel."""

    def forward(self, x: Tensor, amounts: Tensor) -> Tensor:
        y = self.first(x)
        block = self.block
        z = block.depthwise(block.expand(y)) * block.expand(y)
        return block.project(z) + self.embed(amounts).sum()


SPEC = ComponentSpec(
    name=Pocket.RESTORE,
    role=Role.EDIT,
    inputs=(
        TensorSpec(name="x", shape=(1, 3, 16, 16), semantics="x"),
        TensorSpec(name="amounts", shape=(1, 2), semantics="amounts"),
    ),
    outputs=(TensorSpec(name="y", shape=(1, CHANNELS, 16, 16), semantics="y"),),
)
_RNG = np.random.default_rng(0)
SAMPLES = [{t.name: _RNG.standard_normal(t.shape, np.float32) for t in SPEC.inputs} for _ in range(8)]


def _quantized(network: nn.Module, folder: Path) -> onnx.ModelProto:
    export_onnx(network.eval(), tuple(torch.zeros(t.shape) for t in SPEC.inputs), SPEC, folder / "fp32.onnx")
    return quantize(onnx.load(folder / "fp32.onnx"), StaticInt8(), Calibration(SAMPLES))


def _worst_db(network: nn.Module, model: onnx.ModelProto) -> float:
    session = open_session(model.SerializeToString())
    with torch.no_grad():
        wanted = [network(*(torch.from_numpy(sample[t.name]) for t in SPEC.inputs)).numpy() for sample in SAMPLES]
    return min(sqnr_db(want, session.run(None, sample)[0]) for want, sample in zip(wanted, SAMPLES, strict=True))


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_a_convolution_that_takes_its_factor_is_no_further_from_full_precision(tmp_path: Path) -> None:
    network = _Net()
    model = _quantized(network, tmp_path)
    before = model.SerializeToString()
    made = scales_in_convolutions(model)
    assert model.SerializeToString() == before
    assert _operators(made)["QLinearConv"] == 1
    onnx.checker.check_model(made)
    assert _operators(made)["QuantizeLinear"] < _operators(model)["QuantizeLinear"]
    assert _worst_db(network, model) > 25
    assert _worst_db(network, made) > _worst_db(network, model) - 0.5


@pytest.mark.parametrize(("kind", "convolutions", "products"), [(_Two, 2, 1), (_InTurn, 1, 2)])
def test_several_are_computed_together_and_what_depends_on_another_is_left(
    tmp_path: Path, kind: type[_Two], convolutions: int, products: int
) -> None:
    network = kind()
    model = _quantized(network, tmp_path)
    made = scales_in_convolutions(model)
    onnx.checker.check_model(made)
    assert (_operators(made)["QLinearConv"], _operators(made)["Mul"]) == (convolutions, products)
    assert _worst_db(network, made) > _worst_db(network, model) - 0.5


def test_what_nobody_needs_any_more_is_gone(tmp_path: Path) -> None:
    """ONNX Runtime would run it: a dead dequantization of a whole picture takes as long as the pass that was saved."""
    made = scales_in_convolutions(_quantized(_Net(), tmp_path))
    read = {name for node in made.graph.node for name in node.input} | {output.name for output in made.graph.output}
    assert all(read.intersection(node.output) for node in made.graph.node)


def test_products_of_pictures_are_left(tmp_path: Path) -> None:
    model = _quantized(_Gated(), tmp_path)
    assert scales_in_convolutions(model) == model
