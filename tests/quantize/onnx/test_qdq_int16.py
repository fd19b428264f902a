from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import StaticInt16
from pocketcrafter.quantize.onnx.qdq_int16 import quantize_qdq_int16
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnxruntime import open_session, unoptimized_options
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db


class Net(nn.Module):
    """The exporter stores once what both halves clip between, and the maximum with zero reads too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Half(3, 8), Half(8, 3)

    def forward(self, picture: Tensor) -> Tensor:
        y = self.second(self.first(picture))
        return picture + (y.square() - y.mean((2, 3), keepdim=True)).clamp(min=0)


class Half(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.layer(x))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    program = torch.onnx.export(
        Net().eval(), (torch.rand(1, 3, 16, 16),), input_names=["picture"], dynamo=True, verbose=False
    )
    assert program is not None
    program.save(path, external_data=False)
    return path


@pytest.fixture(scope="module")
def samples() -> list[dict[str, FloatArray]]:
    rng = np.random.default_rng(0)
    return [{"picture": rng.random((1, 3, 16, 16), np.float32)} for _ in range(4)]


_DEFAULT = StaticInt16()


def quantize_sixteen(
    stored: Path,
    samples: list[dict[str, FloatArray]],
    out: Path,
    scheme: StaticInt16 = _DEFAULT,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    onnx.save(quantize_qdq_int16(onnx.load(stored), scheme, Calibration(samples), progress), out)


def run(path: Path, sample: dict[str, FloatArray]) -> FloatArray:
    result: FloatArray = open_session(path, unoptimized_options()).run(None, sample)[0]
    return result


@pytest.mark.parametrize(("bits", "stored", "least_db"), [(8, TensorProto.INT8, 40), (4, TensorProto.INT4, 12)])
def test_activations_have_16_bits_weights_few_and_the_network_says_the_same(
    exported: Path, samples: list[dict[str, FloatArray]], tmp_path: Path, bits: int, stored: int, least_db: float
) -> None:
    out = tmp_path / "q.onnx"
    told: list[tuple[int, int]] = []
    quantize_sixteen(exported, samples[:3], out, StaticInt16(weight_bits=bits), lambda *done: told.append(done))
    model = onnx.load(out)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    points = {kinds[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert points == {TensorProto.UINT16}
    assert stored in kinds.values()
    assert least_db < sqnr_db(run(exported, samples[3]), run(out, samples[3])) < 110
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert [p.name for p in tmp_path.iterdir()] == ["q.onnx"]
    assert str(exported.parent).encode() not in out.read_bytes()


def test_values_beyond_what_calibration_saw_are_not_clipped(
    exported: Path, samples: list[dict[str, FloatArray]], tmp_path: Path
) -> None:
    darker = [{"picture": 0.7 * sample["picture"]} for sample in samples[:3]]
    quantize_sixteen(exported, darker, tmp_path / "q.onnx")
    assert sqnr_db(run(exported, samples[3]), run(tmp_path / "q.onnx", samples[3])) > 60


def test_headroom_is_what_the_range_is_multiplied_by(
    exported: Path, samples: list[dict[str, FloatArray]], tmp_path: Path
) -> None:
    scales = []
    for headroom in (1.0, 3.0):
        quantize_sixteen(exported, samples, tmp_path / "q.onnx", StaticInt16(headroom=headroom))
        stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "q.onnx").graph.initializer}
        scales.append(float(stored["picture_scale"]))
    assert scales[1] == pytest.approx(3 * scales[0])


def test_headroom_does_not_widen_what_the_network_clips(tmp_path: Path) -> None:
    """ONNX Runtime takes the `Clip` out: twice its range would let twice its bound through."""

    class Mask(nn.Module):
        def forward(self, position: Tensor) -> Tensor:
            return -64 * (position - 3).clamp(0, 1)

    mask, position = Mask().eval(), torch.zeros(1, 4)
    program = torch.onnx.export(mask, (position,), input_names=["position"], dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "mask.onnx")
    samples = [{"position": np.array([[0, 2, 4, 200]], np.float32)}]
    quantize_sixteen(tmp_path / "mask.onnx", samples, tmp_path / "int16.onnx")
    assert "Clip" not in {node.op_type for node in onnx.load(tmp_path / "int16.onnx").graph.node}
    assert run(tmp_path / "int16.onnx", samples[0]) == pytest.approx(np.array([[0, 0, -64, -64]]), abs=1)


def test_what_is_kept_shares_no_quantized_constant(
    exported: Path, samples: list[dict[str, FloatArray]], tmp_path: Path
) -> None:
    """Guards the trap in which a kept `Clip` gets its bounds dequantized, which the HTP refuses."""
    quantize_sixteen(exported, samples, tmp_path / "q.onnx", StaticInt16(keep_fp32=("first",)))
    graph = onnx.load(tmp_path / "q.onnx").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    first, *_ = [node for node in graph.node if node.op_type == "Clip"]
    assert [float(constants[name]) for name in first.input[1:]] == [0, 6]
    layer, *_ = [node for node in graph.node if node.op_type == "Conv"]
    assert constants[layer.input[1]].dtype == np.float32


def test_nothing_to_calibrate_with_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="calibration samples"):
        quantize_sixteen(exported, [], tmp_path / "q.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("keep", "kind"), [((), TensorProto.UINT8), (("norm",), TensorProto.FLOAT)])
def test_weights_of_layer_normalizations_are_unsigned(tmp_path: Path, keep: tuple[str, ...], kind: int) -> None:
    """QNN refuses the whole operator where they are INT8, and the network is cut there."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.layer = nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.norm(x)) + x

    block = Block().eval()
    nn.init.normal_(block.norm.weight)
    program = torch.onnx.export(block, (torch.rand(1, 4, 8),), input_names=["x"], dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "block.onnx", external_data=False)
    samples = [{"x": np.random.default_rng(i).random((1, 4, 8), np.float32)} for i in range(4)]
    quantize_sixteen(tmp_path / "block.onnx", samples, tmp_path / "qdq.onnx", StaticInt16(keep_fp32=keep))
    model = onnx.load(tmp_path / "qdq.onnx")
    makers = {node.output[0]: node for node in model.graph.node}
    (norm,) = (node for node in model.graph.node if node.op_type == "LayerNormalization")
    weight = makers[norm.input[1]].input[0] if norm.input[1] in makers else norm.input[1]
    assert next(t.data_type for t in model.graph.initializer if t.name == weight) == kind
    assert (
        sqnr_db(block(torch.from_numpy(samples[0]["x"])).detach().numpy(), run(tmp_path / "qdq.onnx", samples[0])) > 35
    )
