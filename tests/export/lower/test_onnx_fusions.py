"""The decoder in ONNX Runtime's own operators: the same answers, and nothing touched that only looks alike."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.export.lower.onnx.passes import fused
from pocketcrafter.export.models import decoder_network
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.quantize.config import WeightOnly
from pocketcrafter.quantize.onnx.matmul_nbits import quantize_matmul_nbits
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket

DECODER = POCKET_SPECS[Pocket.DECODER]


class _Norm(nn.Module):
    def __init__(self, share: float) -> None:
        super().__init__()
        self.register_buffer("shares", torch.full((6, 1), share))
        self.weight = nn.Parameter(torch.arange(6.0))

    def forward(self, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        x = old + new
        return x / torch.mm(x * x + 1e-3, self.shares).sqrt() * self.weight, x * 2


class _Rotated(nn.Module):
    """Two heads of six channels, split after ``cut``, at one of five positions."""

    def __init__(self, cut: int) -> None:
        super().__init__()
        self.cut = cut
        self.register_buffer("cosines", torch.rand(5, 3))
        self.register_buffer("sines", torch.rand(5, 3))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        cosine, sine = (torch.mm(position, table).reshape(1, 1, 3) for table in (self.cosines, self.sines))
        wide = x.reshape(2, 1, 2 * self.cut)
        first, second = wide[:, :, : self.cut], wide[:, :, self.cut : 2 * self.cut]
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], 2)


def _spec(outputs: int, **shapes: tuple[int, ...]) -> ComponentSpec:
    """The first of the shapes are the outputs'."""
    tensors = tuple(TensorSpec(name=name, shape=shape, semantics=name) for name, shape in shapes.items())
    return ComponentSpec(name=Pocket.DECODER, role=Role.LANGUAGE, inputs=tensors[outputs:], outputs=tensors[:outputs])


def _exported(module: nn.Module, spec: ComponentSpec, folder: Path) -> onnx.ModelProto:
    export_onnx(module.eval(), tuple(torch.zeros(t.shape) for t in spec.inputs), spec, folder / "model.onnx")
    return onnx.load(folder / "model.onnx")


def _run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = open_session(model.SerializeToString())
    return list(session.run(None, inputs))


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


NORM = _spec(2, normed=(1, 6), total=(1, 6), old=(1, 6), new=(1, 6))
ROTATED = _spec(1, turned=(2, 1, 6), x=(1, 12), position=(1, 5))


def test_a_sum_and_the_mean_of_its_squares_are_one_operator(tmp_path: Path) -> None:
    model = _exported(_Norm(1 / 6), NORM, tmp_path)
    made = fused(model, "position")
    assert _operators(made) == {"SkipSimplifiedLayerNormalization": 1, "Mul": 1}
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal((1, 6), np.float32) for name in ("old", "new")}
    for wanted, found in zip(_run(model, inputs), _run(made, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_sum_of_squares_is_none(tmp_path: Path) -> None:
    model = _exported(_Norm(1.0), NORM, tmp_path)
    assert _operators(fused(model, "position"))["SkipSimplifiedLayerNormalization"] == 0


@pytest.mark.parametrize("place", range(5))
def test_halves_turned_by_a_position_are_one_operator(tmp_path: Path, place: int) -> None:
    torch.manual_seed(place)
    model = _exported(_Rotated(3), ROTATED, tmp_path)
    made = fused(model, "position")
    assert _operators(made)["RotaryEmbedding"] == 1
    assert not {"Mul", "MatMul"} & _operators(made).keys(), "nothing reads what the operator does itself"
    inputs = {
        "x": np.random.default_rng(place).standard_normal((1, 12), np.float32),
        "position": np.eye(5, dtype=np.float32)[place : place + 1],
    }
    np.testing.assert_allclose(_run(made, inputs)[0], _run(model, inputs)[0], atol=1e-6)


def test_rows_that_nothing_one_hot_picks_are_left(tmp_path: Path) -> None:
    model = _exported(_Rotated(3), ROTATED, tmp_path)
    assert _operators(fused(model, "x"))["RotaryEmbedding"] == 0


@pytest.mark.parametrize("bits", [None, 4])
def test_the_decoder_says_the_same_in_fewer_operators(tmp_path: Path, bits: int | None) -> None:
    model = _exported(decoder_network(WEIGHTS / "decoder.safetensors"), DECODER, tmp_path)
    if bits:
        model = quantize_matmul_nbits(model, WeightOnly(bits=bits))
    before = model.SerializeToString()
    made = fused(model, "position")
    assert model.SerializeToString() == before
    counts = _operators(made)
    assert (counts["SkipSimplifiedLayerNormalization"], counts["RotaryEmbedding"]) == (9, 8)
    assert "Sqrt" not in counts
    rng = np.random.default_rng(0)
    inputs = {t.name: rng.standard_normal(t.shape, np.float32) for t in DECODER.inputs}
    inputs["position"] = np.eye(inputs["position"].shape[1], dtype=np.float32)[7:8]
    for wanted, found in zip(_run(model, inputs), _run(made, inputs), strict=True):
        assert sqnr_db(wanted, found) > 100
