"""One entry: every scheme that a kind of model has changes it a little and leaves the original alone."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import (
    CompressedWeights,
    DynamicInt8,
    MinMax,
    QuantizationConfig,
    StaticInt8,
    StaticInt16,
    WeightGrid,
    WeightOnly,
)
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db

SAMPLES = [{"x": np.random.default_rng(i).normal(size=(1, 64)).astype(np.float32)} for i in range(5)]
CALIBRATION = Calibration(SAMPLES[:4], {"0": torch.eye(64).double()})


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False))
    return layers.eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize(
    "scheme",
    [
        StaticInt8(),
        StaticInt8(range=MinMax()),
        DynamicInt8(),
        DynamicInt8(bits=4),
        WeightOnly(bits=4),
        CompressedWeights(),
        CompressedWeights(grid=WeightGrid.PALETTE6),
    ],
)
def test_a_torch_module_is_quantized_and_left_alone(network: nn.Module, scheme: QuantizationConfig) -> None:
    x = torch.from_numpy(SAMPLES[4]["x"])
    before = network(x)
    quantized = quantize(network, scheme, CALIBRATION)
    assert 14 < sqnr_db(before.numpy(), quantized(x).numpy()) < 60
    assert torch.equal(network(x), before)


@pytest.mark.parametrize(
    "scheme", [StaticInt8(), StaticInt16(), StaticInt16(weight_bits=4), DynamicInt8(), WeightOnly(bits=4)]
)
def test_an_onnx_model_is_quantized_and_left_alone(
    network: nn.Module, scheme: QuantizationConfig, tmp_path: Path
) -> None:
    torch.onnx.export(
        network, (torch.zeros(1, 64),), tmp_path / "net.onnx", dynamo=True, input_names=["x"], verbose=False
    )
    model = onnx.load(tmp_path / "net.onnx")
    before = model.SerializeToString()
    quantized = quantize(model, scheme, CALIBRATION)
    assert model.SerializeToString() == before
    session = open_session(quantized.SerializeToString())
    expected = network(torch.from_numpy(SAMPLES[4]["x"])).numpy()
    assert 14 < sqnr_db(expected, session.run(None, SAMPLES[4])[0]) < 60


def test_a_scheme_that_a_model_cannot_have_is_refused_with_what_can(network: nn.Module) -> None:
    with pytest.raises(ConfigError, match="StaticInt16 quantizes ModelProto; it was given Sequential"):
        quantize(network, StaticInt16(), CALIBRATION)


def test_onnx_runtime_has_no_dynamic_int4_weights() -> None:
    with pytest.raises(ConfigError, match="INT4 weights as `w4`"):
        quantize(onnx.ModelProto(), DynamicInt8(bits=4))
