"""NNCF behind our own arguments: near the network, spares what is kept, and tells nobody."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pocketcrafter.quantize.onnx.nncf import compress_nncf, quantize_nncf, quantize_nncf_controlled
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db

pytest.importorskip("nncf")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1)).eval()
    program = torch.onnx.export(network, (torch.rand(1, 3, 16, 16),), input_names=["x"], dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "net.onnx", external_data=False)
    return tmp_path / "net.onnx"


def _run(path: Path, sample: dict[str, FloatArray]) -> FloatArray:
    result: FloatArray = open_session(path).run(None, sample)[0]
    return result


def test_it_stays_near_and_keeps_what_is_kept(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    drawn = [{"x": rng.random((1, 3, 16, 16), np.float32)} for _ in range(5)]
    quantize_nncf(exported, drawn[:4], tmp_path / "all.onnx")
    assert 20 < sqnr_db(_run(exported, drawn[4]), _run(tmp_path / "all.onnx", drawn[4])) < 70
    quantize_nncf(exported, drawn[:4], tmp_path / "some.onnx", keep_fp32=("0",))
    layers = [node for node in onnx.load(tmp_path / "some.onnx").graph.node if node.op_type == "Conv"]
    makers = {name: n.op_type for n in onnx.load(tmp_path / "some.onnx").graph.node for name in n.output}
    assert [makers.get(layer.input[1]) for layer in layers] == [None, "DequantizeLinear"]
    with pytest.raises(ConfigError, match="calibration samples"):
        quantize_nncf(exported, [], tmp_path / "none.onnx")
    assert not (tmp_path / "none.onnx").exists()
    assert capsys.readouterr().out == "", "results are on the standard output, and nothing else"


def test_layers_go_back_until_it_is_near_enough(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    drawn = [{"x": rng.random((1, 3, 16, 16), np.float32)} for _ in range(9)]
    assert quantize_nncf_controlled(exported, drawn[:8], tmp_path / "near.onnx", least_db=20) == ()
    assert sqnr_db(_run(exported, drawn[8]), _run(tmp_path / "near.onnx", drawn[8])) > 20
    assert quantize_nncf_controlled(exported, drawn[:8], tmp_path / "nearer.onnx", least_db=90) == ("0", "2")
    assert sqnr_db(_run(exported, drawn[8]), _run(tmp_path / "nearer.onnx", drawn[8])) > 90
    with pytest.raises(ConfigError, match="evaluated on 4 samples"):
        quantize_nncf_controlled(exported, drawn[:4], tmp_path / "none.onnx", least_db=20)
    assert capsys.readouterr().out == "", "results are on the standard output, and nothing else"


def test_its_makers_are_told_nothing() -> None:
    """Guards the trap in which every quantization is reported over the network."""
    code = (
        "from pocketcrafter.quantize.onnx.nncf import _nncf; _nncf()\n"
        "from unittest.mock import MagicMock; from nncf.telemetry import wrapper\n"
        "assert isinstance(wrapper.telemetry, MagicMock), wrapper.telemetry"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NNCF_", "PYTEST"))}
    subprocess.run(  # noqa: S603 - fixed arguments
        [sys.executable, "-c", code], check=True, env=environment, timeout=300
    )


def test_compressed_weights_are_read_back_by_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers that ours would take and no other: a bias, or a matrix that is no layer's, stays as it is."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 48, bias=False), nn.Linear(48, 64), nn.Linear(64, 32, bias=False)).eval()
    program = torch.onnx.export(
        network, (torch.rand(1, 64),), input_names=["x"], dynamo=True, opset_version=20, verbose=False
    )
    assert program is not None
    program.save(tmp_path / "net.onnx", external_data=False)
    rng = np.random.default_rng(0)
    drawn = [{"x": rng.random((1, 64), np.float32)} for _ in range(4)]
    for samples in ((), drawn):
        found = compress_nncf(tmp_path / "net.onnx", samples)
        assert set(found) == {"0", "2"}
        for name, weight in found.items():
            right = network.get_submodule(name).get_parameter("weight").detach().numpy()
            assert 15 < sqnr_db(right, weight.numpy()) < 30
    assert set(compress_nncf(tmp_path / "net.onnx", keep_fp32=("0",))) == {"2"}
    with pytest.raises(ConfigError, match="no linear layer"):
        compress_nncf(tmp_path / "net.onnx", keep_fp32=("0", "2"))
    assert capsys.readouterr().out == ""
