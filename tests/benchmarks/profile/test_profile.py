"""Profiles: operators lead back to their layers in every engine, and what other programs read is well formed."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import Tensor, nn

from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.profile.engines import Profiled, Subject, profile_executorch, profile_onnx
from pocketcrafter.benchmarks.profile.layers import Layer, LayerKind, layers_of
from pocketcrafter.benchmarks.profile.measure import profile_bundle
from pocketcrafter.benchmarks.profile.results import NetworkProfile, OpProfile, Peaks, ProfileReport, read_profile
from pocketcrafter.benchmarks.profile.roofline import measure_peaks, where_time_goes
from pocketcrafter.benchmarks.profile.table import as_csv, as_trace, profile_lines
from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import Pocket

SPEC = ComponentSpec(
    name=Pocket.TONE,
    role=Role.EDIT,
    inputs=(TensorSpec(name="view", shape=(1, 3, 32, 32), semantics="a view"),),
    outputs=(TensorSpec(name="grid", shape=(1, 5), semantics="a grid"),),
)
MACS = {"stem": 16 * 16 * 8 * 3 * 9, "deep": 16 * 16 * 8 * 9, "point": 16 * 16 * 16 * 8, "head": 16 * 5}
KINDS = {
    "stem": LayerKind.CONVOLUTION,
    "deep": LayerKind.DEPTHWISE,
    "point": LayerKind.POINTWISE,
    "head": LayerKind.LINEAR,
}


class Small(nn.Module):
    """One layer of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.deep = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.point = nn.Conv2d(8, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, view: Tensor) -> Tensor:
        x = torch.relu(self.point(torch.sigmoid(self.deep(torch.relu(self.stem(view))))))
        head: Tensor = self.head(x.mean((2, 3)))
        return head


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def layers(network: nn.Module) -> list[Layer]:
    return layers_of(network, SPEC)


def subject(artifact: Path, layers: list[Layer]) -> Subject:
    inputs = {"view": np.random.default_rng(0).random((1, 3, 32, 32)).astype(np.float32)}
    return Subject(artifact, SPEC, Precision.FP32, inputs, layers, threads=1, runs=3)


def check(found: Profiled) -> None:
    weighted = [op for op in found.ops if op.macs]
    assert {op.layer: op.macs for op in weighted} == MACS
    assert {op.layer: op.kind for op in weighted} == KINDS
    assert [op.layer for op in weighted] == list(MACS)  # in running order
    assert all(op.exact for op in weighted)
    assert found.total_ms is not None
    assert 0 < sum(op.ms or 0 for op in found.ops) <= 1.5 * found.total_ms


def test_layers_are_counted_from_the_exported_network(layers: list[Layer]) -> None:
    assert {layer.module: layer.macs for layer in layers if layer.macs} == MACS
    weights = {layer.module: layer.weights for layer in layers if layer.macs}
    assert weights == {"stem": 3 * 8 * 9 + 8, "deep": 8 * 9 + 8, "point": 8 * 16 + 16, "head": 16 * 5 + 5}
    stem = next(layer for layer in layers if layer.module == "stem")
    assert (stem.read, stem.written) == (3 * 32 * 32, 8 * 16 * 16)


def test_onnxruntimes_nodes_lead_back_to_their_layers(network: nn.Module, layers: list[Layer], tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    export_onnx(network, (torch.rand(1, 3, 32, 32),), SPEC, path)
    check(profile_onnx(subject(path, layers)))


def test_macs_are_counted_from_the_shapes_that_ran_where_the_layers_are_not_known(
    network: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "small.onnx"
    export_onnx(network, (torch.rand(1, 3, 32, 32),), SPEC, path)
    counted = [op for op in profile_onnx(subject(path, [])).ops if op.macs]
    assert [(op.kind, op.macs) for op in counted] == [(KINDS[name], macs) for name, macs in MACS.items()]
    assert not any(op.exact for op in counted)


def test_operators_inside_xnnpack_lead_back_to_their_layers(
    network: nn.Module, layers: list[Layer], tmp_path: Path
) -> None:
    path = tmp_path / "small.pte"
    exported = torch.export.export(network, (torch.rand(1, 3, 32, 32),))
    edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    path.write_bytes(edge.to_executorch().buffer)
    found = profile_executorch(subject(path, layers))
    check(found)
    assert all(op.inside for op in found.ops if op.macs)


def test_a_bundle_whose_weights_are_not_here_is_profiled_under_the_engines_names(bundle: Path) -> None:
    report = profile_bundle(Bundle.open(bundle), components=[Pocket.TONE], runs=2)
    (network,) = report.networks
    assert network.ops
    assert not any(op.exact for op in network.ops)


@pytest.fixture
def report() -> ProfileReport:
    ops = [
        OpProfile(op="Conv", layer="a", exact=True, kind=LayerKind.CONVOLUTION, ms=2.0, macs=4_000_000, inside=True),
        OpProfile(op="Resize", layer="a", exact=False, ms=3.0, inside=False),
        OpProfile(op="Conv", layer="b", exact=True, kind=LayerKind.CONVOLUTION, ms=1.0, macs=1_000_000, inside=True),
    ]
    network = NetworkProfile(
        component=Pocket.TONE, target="onnx", precision=Precision.INT8, engine="a test", runs=3, total_ms=7.0,
        ops=tuple(ops),
    )  # fmt: skip
    return ProfileReport(
        bundle="small", manifest_sha256="0" * 64, machine=this_machine(), threads=1, networks=(network,)
    )


def test_the_dearest_operators_come_first_and_those_outside_are_marked(report: ProfileReport) -> None:
    table = "\n".join(profile_lines(report, top=2)).splitlines()
    ranked = [line for line in table if line.endswith(("outside |", "|  |")) and line[2].isdigit()]
    assert [line.split(" | ")[1] for line in ranked] == ["Resize", "Conv"]
    assert ranked[0].endswith("outside |")
    assert "2 boundaries, 1 operator outside" in "\n".join(table)
    assert "| 2.000 | 33.3% | 4.00 | 2.0 |" in ranked[1]


def test_the_trace_lays_operators_end_to_end_and_marks_every_crossing(report: ProfileReport) -> None:
    events = json.loads(as_trace(report))["traceEvents"]
    spans = [(e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert spans == [(0, 2000), (2000, 3000), (5000, 1000)]
    crossings = [(e["ts"], e["name"]) for e in events if e["ph"] == "i"]
    assert crossings == [(2000, "out of the backend"), (5000, "into the backend")]


def test_the_csv_has_every_operator(report: ProfileReport) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert [(row["op"], row["ms"], row["inside"]) for row in rows] == [
        ("Conv", "2.0", "True"),
        ("Resize", "3.0", "False"),
        ("Conv", "1.0", "True"),
    ]


def test_results_are_read_back_and_others_are_refused(report: ProfileReport, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(report.model_dump_json())
    assert read_profile(path) == report
    path.write_text('{"bundle": "small"}')
    with pytest.raises(ConfigError, match="bench profile --json"):
        read_profile(path)


def test_the_rest_beside_the_roof_sums_up_to_the_whole_run(report: ProfileReport) -> None:
    roof = Peaks(side=1024, threads=1, fp32_gmacs=1.0, int8_gmacs=10.0)
    (network,) = report.networks
    parts = {part.what: part.ms for part in where_time_goes(network, roof)}
    assert parts == pytest.approx(
        {
            "all MACs at the roof": 0.5,
            "Resize (no MACs)": 3.0,
            "convolution: slower than the roof": 2.5,
            "between operators": 1.0,
        }
    )
    assert sum(parts.values()) == pytest.approx(network.total_ms)
    untimed = network.model_copy(update={"total_ms": None})
    assert where_time_goes(untimed, roof) == []


def test_macs_of_the_network_alone_have_a_roof_too(report: ProfileReport) -> None:
    (network,) = report.networks
    nameless = tuple(op.model_copy(update={"macs": 0, "kind": LayerKind.OTHER}) for op in network.ops)
    network = network.model_copy(update={"macs": 5_000_000, "ops": nameless})
    roof = Peaks(side=1024, threads=1, fp32_gmacs=1.0, int8_gmacs=10.0)
    parts = {part.what: part.ms for part in where_time_goes(network, roof)}
    assert parts == pytest.approx(
        {
            "all MACs at the roof": 0.5,
            "operators: slower than the roof, or without MACs": 5.5,
            "between operators": 1.0,
        }
    )
    lines = "\n".join(profile_lines(report.model_copy(update={"peaks": roof, "networks": (network,)}), top=1))
    assert "| layers not known | 3 | 6.000 | 100.0% | 5.00 | 0.8 | 8% |" in lines
    assert "--weights" in lines
    assert "no MACs" not in lines


def test_a_layer_faster_than_the_roof_owes_nothing(report: ProfileReport) -> None:
    roof = Peaks(side=1024, threads=1, fp32_gmacs=1.0, int8_gmacs=1e-3)
    parts = {part.what: part.ms for part in where_time_goes(report.networks[0], roof)}
    assert parts["all MACs at the roof"] == pytest.approx(3.0)
    assert parts["convolution: slower than the roof"] == 0


def test_the_roof_is_measured_and_layers_are_read_under_it(report: ProfileReport) -> None:
    measured = measure_peaks(threads=1)
    assert measured.fp32_gmacs > 0.5
    assert measured.int8_gmacs > 0.5
    roof = Peaks(side=1024, threads=1, fp32_gmacs=1.0, int8_gmacs=10.0)
    lines = "\n".join(profile_lines(report.model_copy(update={"peaks": roof}), top=1))
    assert "| convolution | 2 | 3.000 | 50.0% | 5.00 | 1.7 | 17% |" in lines
