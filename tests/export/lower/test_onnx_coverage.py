from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from pocketcrafter.export.lower.onnx.coverage import onnx_coverage
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.runtime.backends.onnxruntime import open_session, write_options

_LEVEL = ort.GraphOptimizationLevel


@pytest.mark.parametrize(("level", "share"), [(_LEVEL.ORT_ENABLE_BASIC, 0.0), (_LEVEL.ORT_ENABLE_EXTENDED, 1.0)])
def test_quantized_layers_that_run_in_float_are_refused_by_name(
    level: ort.GraphOptimizationLevel, share: float, tmp_path: Path
) -> None:
    """Without extended optimizations ONNX Runtime leaves every QDQ layer in float, as in a silent fallback."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1))
    program = torch.onnx.export(network, (torch.rand(1, 3, 10, 10),), input_names=["x"], dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "fp32.onnx", external_data=False)
    samples = [{"x": np.random.default_rng(0).random((1, 3, 10, 10), np.float32)}]
    onnx.save(quantize(onnx.load(tmp_path / "fp32.onnx"), StaticInt8(), Calibration(samples)), tmp_path / "q.onnx")
    open_session(tmp_path / "q.onnx", write_options(tmp_path / "optimized.onnx", level))
    coverage = onnx_coverage(onnx.load(tmp_path / "fp32.onnx"), onnx.load(tmp_path / "optimized.onnx"))
    assert coverage.macs_total == 64 * 8 * 27 + 64 * 4 * 8
    assert coverage.share == share
    refused = [f for f in coverage.fallbacks if not f.allowed]
    assert [(f.op, f.count) for f in refused] == ([] if share else [("Conv", 2)])
    assert all("0, 1" in f.reason and "keep_fp32" in f.reason for f in refused)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = torch.bmm(self.query(x).softmax(2), self.value(x).transpose(1, 2))
        return mixed


def test_products_of_two_activations_are_no_missed_layers(tmp_path: Path) -> None:
    """The operands of one come from INT8 layers; quantization leaves the product itself in float32."""
    torch.manual_seed(0)
    program = torch.onnx.export(_Attention(), (torch.rand(1, 4, 8),), input_names=["x"], dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "fp32.onnx", external_data=False)
    samples = [{"x": np.random.default_rng(0).random((1, 4, 8), np.float32)}]
    onnx.save(quantize(onnx.load(tmp_path / "fp32.onnx"), StaticInt8(), Calibration(samples)), tmp_path / "q.onnx")
    open_session(tmp_path / "q.onnx", write_options(tmp_path / "optimized.onnx", _LEVEL.ORT_ENABLE_EXTENDED))
    coverage = onnx_coverage(onnx.load(tmp_path / "fp32.onnx"), onnx.load(tmp_path / "optimized.onnx"))
    (product,) = coverage.fallbacks
    assert product.allowed
    assert "a product of two activations" in product.reason
    assert coverage.share == 1
