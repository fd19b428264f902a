"""The layer that was changed is named first, on every target whose layers can be seen."""

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.benchmarks.bisect import table
from pocketcrafter.benchmarks.bisect.coreai import observe_coreai, plant_coreai
from pocketcrafter.benchmarks.bisect.faults import Fault, Planted
from pocketcrafter.benchmarks.bisect.litert import observe_litert, plant_litert
from pocketcrafter.benchmarks.bisect.mil import observe_mil, plant_mil
from pocketcrafter.benchmarks.bisect.onnx_models import observe_onnx, plant_onnx
from pocketcrafter.benchmarks.bisect.operators import compare_network, operators
from pocketcrafter.benchmarks.bisect.order import Shown, by_order
from pocketcrafter.benchmarks.bisect.qnn import CompiledGraph
from pocketcrafter.benchmarks.bisect.reference import BEST_DB, WORST_DB, LayerError, Reference, Seen, ratio_db
from pocketcrafter.benchmarks.bisect.results import BisectReport, ranked
from pocketcrafter.benchmarks.bisect.rounding import EXACT, Rounding, rounding_of
from pocketcrafter.benchmarks.bisect.table import as_node_data, as_trace, bisect, bisect_lines, rows_of
from pocketcrafter.benchmarks.bisect.xnnpack import observe_xnnpack, plant_xnnpack
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.request import LoweringRequest, Sample
from pocketcrafter.runtime import cli
from pocketcrafter.runtime.backends.coreai import why_no_coreai
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.qnn import why_no_qnn
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.capabilities import why_not_buildable
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.targets import LITERT, ONNX, TARGETS, XNNPACK, TargetKind

_COREML = TargetKind("coreml:ios18")
_COREAI = TargetKind("coreai:ios27")
_QNN = TargetKind("qnn-context:sm8750")


class Network(nn.Module):
    """Convolutions, a linear layer, a residual and a shuffle, as the artists have them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(12, 32, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(32, 64, 1), nn.Hardswish(), nn.Conv2d(64, 32, 3, padding=1))
        self.gain = nn.Linear(3, 32)
        self.tail = nn.Conv2d(32, 12, 3, padding=1)

    def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
        x = F.relu(self.head(F.pixel_unshuffle(tile, 2)))
        x = x + self.body(x) * self.gain(amounts).reshape(1, -1, 1, 1)
        return F.pixel_shuffle(self.tail(x), 2)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return frozen(Network().eval(), ())


@pytest.fixture(scope="module")
def spec() -> ComponentSpec:
    tile = TensorSpec(name="tile", shape=(1, 3, 32, 32), semantics="picture")
    amounts = TensorSpec(name="amounts", shape=(1, 3), semantics="amounts")
    restored = TensorSpec(name="restored", shape=(1, 3, 32, 32), semantics="picture")
    return ComponentSpec(name=Pocket.RESTORE, role=Role.EDIT, inputs=(tile, amounts), outputs=(restored,))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = np.random.default_rng(0)
    return [
        {"tile": rng.random((1, 3, 32, 32), np.float32), "amounts": rng.random((1, 3), np.float32)} for _ in range(4)
    ]


def _missed(faults: list[Planted], reference: Reference, sample: Sample, rounding: Rounding = EXACT) -> list[str]:
    """Return the faults whose layer is not named first; an output an eighth as wide may be refused by XNNPACK."""
    found = []
    for one in faults:
        try:
            errors = reference.errors(sample, one.observe(), rounding)
        except BackendError:
            assert one.fault is Fault.RANGE
            continue
        shown = {error.node for error in errors}
        worst = ranked(errors)[0].node
        if worst not in {seen for node in one.nodes for seen in reference.shown_for(node, shown)}:
            found.append(f"{one.fault} of {one.nodes}: {worst}")
    return found


@pytest.mark.parametrize(("precision", "least_db"), [(Precision.FP32, 90), (Precision.INT8, 20)])
def test_faults_in_a_model_of_onnx_are_named_first(
    precision: Precision,
    least_db: float,
    network: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    out = tmp_path / "network.onnx"
    lower(LoweringRequest(network, spec, samples, precision, {ONNX: out}))
    reference = Reference(network, spec)
    rounding = rounding_of(precision)
    whole = reference.errors(samples[0], observe_onnx(out, spec, samples[0], reference), rounding)
    assert len(whole) >= 5
    assert min(error.local_db for error in whole) > least_db
    assert min(error.fault_db for error in whole) > 30, "the precision explains most of its errors"
    faults = list(plant_onnx(out, spec, reference, samples[0]))
    wanted = {Fault.WEIGHT, Fault.AXIS} | ({Fault.SCALE, Fault.RANGE} if precision is Precision.INT8 else set())
    assert {one.fault for one in faults} == wanted
    assert len(faults) >= 8
    assert not _missed(faults, reference, samples[0], rounding)


def test_faults_in_a_core_ml_package_are_named_first(
    network: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    pytest.importorskip("coremltools")
    out = tmp_path / "network.mlpackage"
    lower(LoweringRequest(network, spec, samples, Precision.INT8, {_COREML: out}))
    reference = Reference(network, spec)
    whole = reference.errors(samples[0], observe_mil(out, spec, samples[0], reference))
    assert min(error.local_db for error in whole) > 30
    assert {error.layer for error in whole} >= {"head", "body.0", "body.2", "gain", "tail"}
    faults = list(plant_mil(out, spec, reference, samples[0]))
    assert {one.fault for one in faults} >= {Fault.WEIGHT, Fault.SCALE, Fault.AXIS}
    assert not _missed(faults, reference, samples[0])


@pytest.mark.parametrize(("precision", "least_db"), [(Precision.FP32, 90), (Precision.INT8, 20)])
def test_faults_in_a_program_for_xnnpack_are_named_first(
    precision: Precision,
    least_db: float,
    network: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    out = tmp_path / "network.pte"
    lower(LoweringRequest(network, spec, samples, precision, {XNNPACK: out}))
    reference = Reference(network, spec)
    rounding = rounding_of(precision)
    whole = reference.errors(samples[0], observe_xnnpack(out, spec, samples[0], reference), rounding)
    assert {error.layer for error in whole} >= {"body.0", "body.2", "gain"}
    assert min(error.local_db for error in whole) > least_db
    assert min(error.fault_db for error in whole) > 30, "the precision explains most of its errors"
    faults = list(plant_xnnpack(out, spec, reference, samples[0]))
    wanted = {Fault.WEIGHT, Fault.AXIS} | ({Fault.SCALE, Fault.RANGE} if precision is Precision.INT8 else set())
    assert {one.fault for one in faults} == wanted
    assert not _missed(faults, reference, samples[0], rounding)


@pytest.mark.skipif(
    why_not_buildable(LITERT) is not None, reason=f"litert cannot be built here: {why_not_buildable(LITERT)}"
)
@pytest.mark.parametrize(("precision", "least_db"), [(Precision.FP16, 60), (Precision.INT8, 20)])
def test_faults_in_a_litert_model_are_named_first(
    precision: Precision,
    least_db: float,
    network: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    """AI Edge Quantizer writes weights of 16 bits behind the model, which must be found there."""
    out, integers = tmp_path / "network.tflite", precision is Precision.INT8
    lower(LoweringRequest(network, spec, samples, precision, {LITERT: out}))
    reference, rounding = Reference(network, spec), rounding_of(precision, hides_integers=True)
    whole = reference.errors(samples[0], observe_litert(out, spec, samples[0], reference), rounding)
    assert {error.layer for error in whole} >= {"body.0", "body.2", "gain"}
    assert min(error.local_db for error in whole) > least_db
    faults = list(plant_litert(out, spec, reference, samples[0]))
    assert {one.fault for one in faults} >= {Fault.WEIGHT, Fault.AXIS} | ({Fault.SCALE} if integers else set())
    assert not _missed(faults, reference, samples[0], rounding)


@pytest.mark.skipif(why_no_coreai() is not None, reason=f"no extra `coreai`: {why_no_coreai()}")
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_faults_in_a_core_ai_asset_are_named_first_by_apples_runtime(
    precision: Precision, network: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "network.aimodel"
    lower(LoweringRequest(network, spec, samples, precision, {_COREAI: out}))
    reference, rounding = Reference(network, spec), rounding_of(precision)
    seen = observe_coreai(out, spec, samples[0], reference)
    alone = usable_backend(BackendName.COREAI).open(out, spec, 1).run(samples[0])["restored"]
    assert np.array_equal(seen["restored"].value, alone), "more outputs must not change what is computed"
    whole = reference.errors(samples[0], seen, rounding)
    assert {error.layer for error in whole} >= {"body.0", "body.2", "gain", "tail"}
    assert min(error.local_db for error in whole) > 30
    faults = list(plant_coreai(out, spec, reference, samples[0]))
    assert {one.fault for one in faults} >= {Fault.WEIGHT, Fault.AXIS}
    assert (Fault.SCALE in {one.fault for one in faults}) == (precision is Precision.INT8)
    assert not _missed(faults, reference, samples[0], rounding)


@pytest.mark.skipif(why_no_coreai() is not None, reason=f"no extra `coreai`: {why_no_coreai()}")
def test_the_mil_interpreter_computes_what_apples_runtime_does(
    network: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    pytest.importorskip("coremltools")
    asset, package, wrong = (tmp_path / name for name in ("same.aimodel", "same.mlpackage", "wrong.mlpackage"))
    lower(LoweringRequest(network, spec, samples, Precision.FP16, {_COREAI: asset}))
    lower(LoweringRequest(network, spec, samples, Precision.FP16, {_COREML: package}))
    reference = Reference(network, spec)
    found = compare_network(package, asset, spec, samples[0], reference)
    assert not found.unexplained
    assert {one.kind for one in found.operators if one.worst is not None} >= {"conv", "linear", "relu", "pixel_shuffle"}
    assert min(one.worst.sqnr_db for one in found.operators if one.worst is not None) > 50
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in changed.get_submodule("body.2").parameters():
            parameter.mul_(1.125)
    lower(LoweringRequest(changed, spec, samples, Precision.FP16, {_COREML: wrong}))
    (fault,) = compare_network(wrong, asset, spec, samples[0], reference).unexplained
    assert "conv" in fault.kinds
    assert fault.sqnr_db == pytest.approx(18.06, abs=0.1), "an eighth too much, and nothing of it behind that layer"
    assert fault.apple_db > 50


def test_what_is_not_core_ml_and_core_ai_is_not_compared(bundle: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"onnx is not run by mil-interpreter: .* coreml:<ios> with one of coreai:<ios>"
    ):
        operators(Bundle.open(bundle), "onnx", "onnx")


@pytest.mark.skipif(why_no_qnn() is not None, reason=f"no extra `qnn`: {why_no_qnn()}")
def test_faults_in_what_qnn_compiles_are_named_first_by_its_emulator(
    network: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    graph, out = tmp_path / "graph.onnx", tmp_path / "network.onnx"
    source = lower(LoweringRequest(network, spec, samples, Precision.INT8, {ONNX: graph}, to_compile=True))[ONNX]
    lower(LoweringRequest(network, spec, samples, Precision.INT8, {_QNN: out}, source=source))
    reference, rounding = Reference(network, spec), rounding_of(Precision.INT8)
    compiled = CompiledGraph(graph, TARGETS[_QNN].socs)
    whole = reference.errors(samples[0], compiled.observe(out, spec, samples[0], reference), rounding)
    assert {error.layer for error in whole} >= {"body.0", "body.2", "gain", "tail"}
    assert min(error.local_db for error in whole) > 20
    faults = {one.fault: one for one in compiled.plant(out, spec, reference, samples[0])}
    assert faults.keys() == set(Fault)
    assert not _missed(list(faults.values()), reference, samples[0], rounding)
    other = CompiledGraph(tmp_path / "other.onnx", TARGETS[_QNN].socs)
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.get_submodule("tail").weight.neg_()
    lower(LoweringRequest(changed, spec, samples, Precision.INT8, {ONNX: tmp_path / "other.onnx"}, to_compile=True))
    with pytest.raises(BackendError, match=r"is not what network\.onnx was compiled from"):
        other.observe(out, spec, samples[0], reference)


def test_operators_are_paired_by_order_layout_and_what_feeds_them(
    network: nn.Module, spec: ComponentSpec, samples: list[Sample]
) -> None:
    reference = Reference(network, spec)
    with torch.no_grad():
        head = torch.relu(network.get_submodule("head")(F.pixel_unshuffle(torch.tensor(samples[0]["tile"]), 2)))
        first = network.get_submodule("body.0")(head)
    last = [tensor.numpy().transpose(0, 2, 3, 1) for tensor in (head, first)]
    shown = [
        Shown("conv2d", last[0].size, Seen(last[0]), frozenset()),
        Shown("conv2d", last[1].size, Seen(last[1]), frozenset({0})),
        Shown("hardswish", last[1].size, None, frozenset({1})),
    ]
    values = by_order(shown, reference)
    assert values.keys() == {"relu", "conv2d_1"}, "the activation that is fused goes by its own name"
    assert np.array_equal(values["conv2d_1"].value, first.numpy())
    apart = [shown[0], Shown("conv2d", last[1].size, Seen(last[1]), frozenset()), shown[2]]
    assert by_order(apart, reference).keys() == {"relu", "conv2d_1"}


def test_drift_is_told_from_a_layers_own_error(network: nn.Module, spec: ComponentSpec, samples: list[Sample]) -> None:
    reference = Reference(network, spec)
    with torch.no_grad():
        right = torch.relu(network.get_submodule("head")(F.pixel_unshuffle(torch.tensor(samples[0]["tile"]), 2)))
        wrong = right * 1.5
        after = network.get_submodule("body.0")(wrong)
    first, second = reference.errors(samples[0], {"relu": Seen(wrong.numpy()), "conv2d_1": Seen(after.numpy())})
    assert (first.layer, second.layer) == ("forward: relu", "body.0")
    assert first.local_db == pytest.approx(6.0, abs=0.1)
    assert second.local_db > 100
    assert second.drift_db < 12


def _report(network: nn.Module, spec: ComponentSpec, sample: Sample) -> BisectReport:
    """Of an artifact that shows its first layer alone, which is right."""
    reference = Reference(network, spec)
    with torch.no_grad():
        head = network.get_submodule("head")(F.pixel_unshuffle(torch.tensor(sample["tile"]), 2)).numpy()
    return BisectReport(
        bundle="small",
        component=Pocket.RESTORE,
        target="onnx",
        precision=Precision.FP32,
        operators=len(reference.names),
        layers=rows_of(reference.errors(sample, {"conv2d": Seen(head)})),
    )


def test_exports_hold_every_layer(network: nn.Module, spec: ComponentSpec, samples: list[Sample]) -> None:
    report = _report(network, spec, samples[0])
    assert json.loads(as_node_data(report))["main"]["results"].keys() == {"conv2d"}
    trace = json.loads(as_trace(report))["traceEvents"]
    assert [event["name"] for event in trace if event["ph"] == "X"] == ["head"]
    counters = [event for event in trace if event["ph"] == "C"]
    assert {event["name"] for event in counters} == {"own error dB", "rounding dB", "drift dB"}
    # Perfetto's reader leaves out events that miss one of these, and counters that are no numbers, without a word.
    assert all(event.keys() >= {"pid", "tid", "ts", "dur", "name"} for event in trace if event["ph"] == "X")
    assert all(math.isfinite(value) for event in counters for value in event["args"].values())
    assert "| 0 | head | conv2d (conv2d) |" in bisect_lines(report, 3)
    assert "All of them are torch's own, to the bit." in bisect_lines(report, 3)


def test_what_was_found_is_shown_though_a_file_cannot_be_written(
    bundle: Path,
    network: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(table, "bisect", lambda *_: _report(network, spec, samples[0]))
    (tmp_path / "no_folder").touch()
    asked = ["bisect", str(bundle), "restore", "--against", "onnx", "--json"]
    assert cli.run([*asked, "--trace", str(tmp_path / "no_folder/trace.json")]) == 2
    shown = capsys.readouterr()
    assert json.loads(shown.out)["component"] == "restore"
    assert "no_folder/trace.json: cannot be written" in shown.err
    both = str(tmp_path / "both.json")
    assert cli.run([*asked, "--trace", both, "--model-explorer", both]) == 2
    assert "name one file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["no_folder"]


def test_a_target_that_is_not_there_is_told(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="coreml:ios18"):
        bisect(Bundle.open(bundle), Pocket.RESTORE, "coreml:ios18")


def test_a_layer_that_is_given_nonsense_is_right_to_return_it() -> None:
    """A fault in front of a logarithm makes it NaN, in torch on the artifact's inputs too."""
    expected = torch.tensor([1.0, 2.0, math.nan, -math.inf])
    assert ratio_db(expected, expected.numpy()) == BEST_DB
    assert ratio_db(expected, np.float32([1.0, 1.0, math.nan, -math.inf])) == pytest.approx(6.99, abs=0.01)
    for wrong in ([1.0, 2.0, 3.0, -math.inf], [1.0, 2.0, math.nan, math.inf], [1.0, math.nan, math.nan, -math.inf]):
        assert ratio_db(expected, np.float32(wrong)) == WORST_DB


def test_what_rounding_explains_is_no_fault() -> None:
    rounded = LayerError("conv2d", "head", "conv2d", local_db=20.0, rounding_db=22.0, drift_db=10.0)
    wrong = LayerError("conv2d_1", "body", "conv2d", local_db=25.0, rounding_db=33.0, drift_db=20.0)
    exact = LayerError("linear", "gain", "linear", local_db=130.0, rounding_db=1000.0, drift_db=90.0)
    assert [error.node for error in ranked([rounded, exact, wrong])] == ["conv2d_1", "linear", "conv2d"]


def test_what_a_hidden_sum_rounds_is_no_fault_of_its_reader(
    network: nn.Module, spec: ComponentSpec, samples: list[Sample]
) -> None:
    """The residual is rounded to 8 bits, and only the last layer is shown."""
    reference, rounding = Reference(network, spec), rounding_of(Precision.INT8, hides_integers=True)
    coarse = dataclasses.replace(EXACT, hidden_bits=8)
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, _inputs, made: kept.update({name: made})

    hooks = [network.get_submodule(name).register_forward_hook(keep(name)) for name in ("head", "body", "gain")]
    network(*map(torch.from_numpy, samples[0].values()))
    for hook in hooks:
        hook.remove()
    residual = F.relu(kept["head"]) + coarse.hidden(kept["body"] * kept["gain"].reshape(1, -1, 1, 1))
    tail = network.get_submodule("tail")(coarse.hidden(residual)).numpy()
    (blind,) = reference.errors(samples[0], {"conv2d_3": Seen(tail)})
    (told,) = reference.errors(samples[0], {"conv2d_3": Seen(tail)}, rounding)
    assert blind.fault_db < 60
    assert told.fault_db == BEST_DB


def test_a_range_that_clips_more_than_calibration_does_is_a_fault(
    network: nn.Module, spec: ComponentSpec, samples: list[Sample]
) -> None:
    reference = Reference(network, spec)
    with torch.no_grad():
        head = network.get_submodule("head")(F.pixel_unshuffle(torch.tensor(samples[0]["tile"]), 2)).numpy()
    most = np.sort(np.abs(head).ravel())[-8]
    for limit, explained in ((most, True), (most / 8, False)):
        step = limit / 127
        made = np.clip(np.round(head / step), -127, 127) * step
        (error,) = reference.errors(samples[0], {"conv2d": Seen(made.astype(np.float32), float(step))})
        assert (error.fault_db > 100) == explained
