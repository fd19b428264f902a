"""QNN's own profile: its nodes lead back to layers, and its cycles are never taken for a time."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.profile.engines import Subject, profile_qnn
from pocketcrafter.benchmarks.profile.layers import LayerKind, layers_of
from pocketcrafter.benchmarks.profile.results import NetworkProfile, ProfileReport
from pocketcrafter.benchmarks.profile.table import profile_lines
from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.runtime.backends.qnn import run_qnn, why_no_qnn
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.pocket import Pocket

needs_qnn = pytest.mark.skipif(why_no_qnn() is not None, reason=f"the extra `qnn` is not here: {why_no_qnn()}")

SPEC = ComponentSpec(
    name=Pocket.TONE,
    role=Role.EDIT,
    inputs=(TensorSpec(name="view", shape=(1, 3, 16, 16), semantics="a view"),),
    outputs=(TensorSpec(name="grid", shape=(1, 8, 16, 16), semantics="a grid"),),
)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.point = nn.Conv2d(8, 8, 1)

    def forward(self, view: Tensor) -> Tensor:
        grid: Tensor = self.point(torch.relu(self.stem(view)))
        return grid


@needs_qnn
def test_nodes_on_the_emulated_htp_lead_back_to_their_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Small().eval().requires_grad_(False)
    view = np.random.default_rng(0).random((1, 3, 16, 16)).astype(np.float32)
    plain, quantized, context = (tmp_path / name for name in ("plain.onnx", "qdq.onnx", "context.onnx"))
    export_onnx(network, (torch.from_numpy(view),), SPEC, plain)
    onnx.save(quantize(onnx.load(plain), StaticInt8(), Calibration([{"view": view}])), quantized)
    run_qnn(quantized, socs={69: 79}, context=context)
    assert [node.op_type for node in onnx.load(context).graph.node] == ["EPContext"]

    found = profile_qnn(Subject(context, SPEC, Precision.INT8, {"view": view}, layers_of(network, SPEC), 1, 1))
    weighted = {op.layer: op for op in found.ops if op.macs}
    assert {name: op.kind for name, op in weighted.items()} == {
        "stem": LayerKind.CONVOLUTION,
        "point": LayerKind.POINTWISE,
    }
    assert all(op.ms is None and op.cycles is not None and op.inside for op in found.ops)
    assert sum(op.cycles or 0 for op in found.ops) > 0
    assert found.total_ms is None
    assert "no device's" in found.engine

    profile = NetworkProfile(
        component=Pocket.TONE, target="qnn-context:sm8750", precision=Precision.INT8, engine=found.engine,
        runs=found.runs, total_ms=None, ops=found.ops,
    )  # fmt: skip
    report = ProfileReport(bundle="b", manifest_sha256="0" * 64, machine=this_machine(), threads=1, networks=(profile,))
    lines = "\n".join(profile_lines(report, top=3))
    assert "emulated cycles" in lines
    assert " ms, " not in lines


@needs_qnn
def test_what_is_no_context_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(BackendError):
        profile_qnn(Subject(tmp_path / "broken.onnx", SPEC, Precision.INT8, {}, [], threads=1, runs=1))
