"""Pixel shuffles in the order of memory: the same pictures, by moves of whole pixels."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.export.lower.onnx.passes import shuffled_whole
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.pocket import Pocket


class _Shuffled(nn.Module):
    """Folds a picture, convolves it, and folds it out again."""

    def __init__(self, fold: int, channels: int = 4, groups: int = 1) -> None:
        super().__init__()
        self.fold = fold
        self.inward = nn.Conv2d(3 * fold**2, 8, 3, padding=1)
        self.outward = nn.Conv2d(8, channels * fold**2, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.outward(self.inward(F.pixel_unshuffle(x, self.fold))), self.fold)


class _Twice(_Shuffled):
    """Reads what it shuffles a second time: the order of channels matters there."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.outward(self.inward(F.pixel_unshuffle(x, self.fold)))
        return F.pixel_shuffle(y, self.fold) + y.mean((2, 3))[:, :4, None, None]


def _exported(network: _Shuffled, folder: Path) -> onnx.ModelProto:
    channels = network.outward.out_channels // network.fold**2
    tensors = [TensorSpec(name=n, shape=(1, c, 12, 24), semantics=n) for n, c in (("x", 3), ("y", channels))]
    spec = ComponentSpec(name=Pocket.RESTORE, role=Role.EDIT, inputs=(tensors[0],), outputs=(tensors[1],))
    export_onnx(network.eval(), (torch.zeros(1, 3, 12, 24),), spec, folder / "model.onnx")
    return onnx.load(folder / "model.onnx")


def _run(model: onnx.ModelProto) -> np.ndarray:
    session = open_session(model.SerializeToString())
    x = np.random.default_rng(0).standard_normal((1, 3, 12, 24), np.float32)
    result: np.ndarray = session.run(None, {"x": x})[0]
    return result


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("channels", [3, 4, 5])
@pytest.mark.parametrize("fold", [2, 3])
def test_the_picture_is_the_same(tmp_path: Path, fold: int, channels: int) -> None:
    torch.manual_seed(fold)
    model = _exported(_Shuffled(fold, channels), tmp_path)
    before = model.SerializeToString()
    made = shuffled_whole(model)
    assert model.SerializeToString() == before
    counts = _operators(made)
    assert (counts["DepthToSpace"], counts["SpaceToDepth"]) == (0, 1)
    onnx.checker.check_model(made, full_check=True)
    np.testing.assert_allclose(_run(made), _run(model), atol=1e-5)


@pytest.mark.parametrize("network", [_Shuffled(2, groups=2), _Twice(2)])
def test_channels_that_something_else_depends_on_keep_their_order(tmp_path: Path, network: _Shuffled) -> None:
    model = _exported(network, tmp_path)
    made = shuffled_whole(model)
    assert _operators(made)["DepthToSpace"] == 1
    np.testing.assert_allclose(_run(made), _run(model), atol=1e-5)
