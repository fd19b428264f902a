import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import MinMax, Percentile, StaticInt8
from pocketcrafter.quantize.onnx.graph import module_of
from pocketcrafter.quantize.onnx.qdq import activation_ranges, int8_nodes, quantize_qdq
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.errors import ConfigError


class Net(nn.Module):
    """A picture's residual, an inner residual, and a statistic whose epsilon must not be rounded."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body, self.tail = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 8), (8, 8), (8, 3)))

    def forward(self, picture: Tensor) -> Tensor:
        y = self.head(picture)
        y = y + self.body(F.relu(y))
        spread = (y.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        return picture + self.tail(y) * spread[:, :3]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    program = torch.onnx.export(Net().eval(), (torch.rand(1, 3, 16, 16),), dynamo=True, verbose=False)
    assert program is not None
    program.save(path, external_data=False)
    return path


_DEFAULT = StaticInt8()


def quantize_onnx(stored: Path, samples: list[dict[str, FloatArray]], out: Path, scheme: StaticInt8 = _DEFAULT) -> None:
    onnx.save(quantize_qdq(onnx.load(stored), scheme, Calibration(samples)), out)


def _samples(exported: Path) -> list[dict[str, FloatArray]]:
    name = onnx.load(exported).graph.input[0].name
    return [{name: np.random.default_rng(i).random((1, 3, 16, 16), np.float32)} for i in range(3)]


def test_layers_and_the_inner_residual_are_int8_and_nothing_else(exported: Path) -> None:
    model = onnx.load(exported)
    kinds = {node.name: node.op_type for node in model.graph.node}
    assert Counter(kinds[name] for name in int8_nodes(model, ())) == {"Conv": 3, "Add": 1, "Relu": 1}


def test_a_kept_module_takes_its_residual_along(exported: Path) -> None:
    model = onnx.load(exported)
    nodes = {node.name: node for node in model.graph.node}
    left = [nodes[name] for name in int8_nodes(model, ("body",))]
    assert {module_of(node) for node in left if node.op_type == "Conv"} == {"head", "tail"}
    assert not [node for node in left if node.op_type == "Add"]


def test_weights_are_int8_per_channel_and_metadata_is_gone(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    quantize_onnx(exported, _samples(exported), out)
    model = onnx.load(out)
    weights = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4]
    assert len(weights) == 3
    scales = {t.name: t.dims for t in model.graph.initializer if t.name.endswith("weight_scale")}
    assert {tuple(dims) for dims in scales.values()} == {(8,), (3,)}
    assert not any(node.metadata_props for node in model.graph.node)
    assert __file__.encode() not in out.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["int8.onnx"]


def test_nothing_to_quantize_is_an_error(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No layer is left"):
        quantize_onnx(
            exported, _samples(exported), tmp_path / "out.onnx", StaticInt8(keep_fp32=("head", "body", "tail"))
        )
    with pytest.raises(ConfigError, match="at least one"):
        quantize_onnx(exported, [], tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


class Conditioned(nn.Module):
    """A map that a vector scales."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.scale = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(4, 8)

    def forward(self, picture: Tensor, condition: Tensor) -> Tensor:
        scaled: Tensor = self.body(picture) * self.scale(condition).reshape(1, 8, 1, 1)
        return scaled


def test_vectors_get_room_and_maps_get_none(tmp_path: Path) -> None:
    torch.manual_seed(0)
    names = ["picture", "condition"]
    program = torch.onnx.export(
        Conditioned().eval(),
        (torch.rand(1, 3, 32, 32), torch.rand(1, 4)),
        dynamo=True,
        input_names=names,
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "net.onnx", external_data=False)
    sample = {"picture": np.full((1, 3, 32, 32), 0.5, np.float32), "condition": np.full((1, 4), 2.0, np.float32)}
    quantize_onnx(tmp_path / "net.onnx", [sample], tmp_path / "int8.onnx")
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert stored["picture_scale"] * 255 == pytest.approx(0.5)
    assert stored["condition_scale"] * 255 == pytest.approx(3.0)


def test_no_room_is_given_beyond_what_the_network_clips(tmp_path: Path) -> None:
    """ONNX Runtime takes the `Clip` out, and leaves its work to the range."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Hardtanh(0, 0.125)).eval()
    program = torch.onnx.export(model, (torch.rand(1, 4),), dynamo=True, input_names=["condition"], verbose=False)
    assert program is not None
    program.save(tmp_path / "net.onnx", external_data=False)
    sample = {"condition": np.full((1, 4), 2.0, np.float32)}
    quantize_onnx(tmp_path / "net.onnx", [sample], tmp_path / "int8.onnx")
    ends = [open_session(tmp_path / name).run(None, sample)[0].max() for name in ("net.onnx", "int8.onnx")]
    assert ends == pytest.approx([0.125, 0.125], abs=1e-3)


def test_no_value_of_an_input_is_clipped(exported: Path, tmp_path: Path) -> None:
    name = onnx.load(exported).graph.input[0].name
    picture = np.full((1, 3, 16, 16), 0.5, np.float32)
    picture[0, 0, 0, :2] = 0, 100
    quantize_onnx(exported, [{name: picture}], tmp_path / "int8.onnx")
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    # With the room of few values; a percentile would have clipped the one value of 100.
    assert stored[f"{name}_scale"] * 255 == pytest.approx(150)


def test_what_is_only_moved_is_not_rounded_again(tmp_path: Path) -> None:
    """Guards a trap of speed: ranges that differ a little put a quantization between two INT8 operators."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(8, 3, 1)).eval()
    tiles = [torch.rand(1, 3, 64, 64) for _ in range(2)]
    program = torch.onnx.export(network, (tiles[0],), dynamo=True, input_names=["x"], verbose=False)
    assert program is not None
    program.save(tmp_path / "net.onnx", external_data=False)
    quantize_onnx(tmp_path / "net.onnx", [{"x": tile.numpy()} for tile in tiles], tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    shuffle = next(node for node in model.graph.node if node.op_type == "DepthToSpace")
    made = next(node for node in model.graph.node if shuffle.input[0] in node.output)
    after = next(node for node in model.graph.node if shuffle.output[0] in node.input)
    assert (made.op_type, after.op_type) == ("DequantizeLinear", "QuantizeLinear")
    assert stored[made.input[1]] == stored[after.input[1]]


def test_a_large_activation_is_sampled_with_its_extremes(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"], name="same")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 100_000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 100_000])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    values = np.random.default_rng(0).normal(size=(8, 1, 100_000)).astype(np.float32)
    values[3, 0, 7] = 50
    drawn = [{"x": sample} for sample in values]
    whole, (low, high) = (
        activation_ranges(tmp_path / "m.onnx", drawn, {"y": how})["y"] for how in (MinMax(), Percentile())
    )
    assert whole == (values.min(), np.float32(50))
    assert low < -3
    assert 3 < high < 6


_DEEP = """
import sys
import numpy as np, onnx
from pathlib import Path
from onnx import TensorProto, helper
from pocketcrafter.quantize.config import MinMax
from pocketcrafter.quantize.onnx.qdq import activation_ranges
from pocketcrafter.runtime.memory import resident_mib

shape, names = [1, 2_000_000], [f"a{i}" for i in range(40)]
nodes = [helper.make_node("Sigmoid", [read], [made], name=made) for read, made in zip(["x", *names], names)]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", names[-1])]
between = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names[:-1]]
graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], value_info=between)
path = Path(sys.argv[1])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
before = resident_mib()[1]
activation_ranges(path, [{"x": np.ones(shape, np.float32)}] * 2, dict.fromkeys(names, MinMax()))
print(resident_mib()[1] - before)
"""


def test_calibration_does_not_hold_all_activations_of_a_deep_model_at_once(tmp_path: Path) -> None:
    """Forty activations of 8 MB would be 320 MB; a process of its own tells its own peak."""
    command = [sys.executable, "-c", _DEEP, str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603 - a script of this file
    assert float(done.stdout) < 120


def test_the_same_model_comes_out_twice(exported: Path, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        quantize_onnx(exported, _samples(exported), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
