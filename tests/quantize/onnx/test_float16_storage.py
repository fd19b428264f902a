from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pocketcrafter.quantize.onnx.storage import with_float16_storage
from pocketcrafter.runtime.backends.onnxruntime import open_session, unoptimized_options


@pytest.fixture
def network(tmp_path: Path) -> onnx.ModelProto:
    """Two layers, the first one's weights exact in float16."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 8, 3)).eval()
    with torch.no_grad():
        layers[0].weight.copy_(layers[0].weight.half().float())
    torch.onnx.export(layers, (torch.zeros(1, 3, 16, 16),), tmp_path / "made.onnx", dynamo=True, verbose=False)
    return onnx.load(tmp_path / "made.onnx")


def _said(model: onnx.ModelProto, optimized: bool) -> np.ndarray:
    session = open_session(model.SerializeToString(), None if optimized else unoptimized_options())
    picture = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    return session.run(None, {session.get_inputs()[0].name: picture})[0]


@pytest.mark.parametrize("optimized", [True, False])
def test_nothing_changes_but_the_bytes(network: onnx.ModelProto, optimized: bool) -> None:
    halves = with_float16_storage(network)
    kinds = [initializer.data_type for initializer in halves.graph.initializer]
    assert kinds.count(onnx.TensorProto.FLOAT16) == 1
    assert len(network.SerializeToString()) - len(halves.SerializeToString()) > 3 * 64 * 9 * 2 - 300
    assert np.array_equal(_said(halves, optimized), _said(network, optimized))


def test_what_float16_does_not_hold_stays(network: onnx.ModelProto) -> None:
    for initializer in network.graph.initializer:
        weights = onnx.numpy_helper.to_array(initializer)
        initializer.CopyFrom(onnx.numpy_helper.from_array(weights * np.float32(1e6 / 3), initializer.name))
    assert with_float16_storage(network) == network
