"""Core AI assets, from a network to a folder that Apple's own runtime proves here."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node

from pocketcrafter.export.builder.preflight import PreflightError, check_targets
from pocketcrafter.export.lower.coreai import convert as converting
from pocketcrafter.export.lower.coreai.convert import AssetFunction, coreai
from pocketcrafter.export.lower.coreai.lowering import read_asset
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.runtime.backends import coreai as runtime
from pocketcrafter.runtime.backends.coreai import PROGRAM, why_no_coreai
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec, FunctionSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError, GateError
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.targets import TARGETS, TargetKind

needs_coreai = pytest.mark.skipif(why_no_coreai() is not None, reason=f"no extra `coreai`: {why_no_coreai()}")

_IOS27 = TargetKind("coreai:ios27")


def _lowered(
    model: nn.Module, spec: ComponentSpec, samples: list[Sample], precision: Precision, out: Path
) -> LoweredArtifact:
    return lower(LoweringRequest(model, spec, samples, precision, {_IOS27: out}))[_IOS27]


def _bytes(asset: Path) -> dict[str, bytes]:
    return {str(p.relative_to(asset)): p.read_bytes() for p in asset.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def fp16(
    make_restore: Callable[[], nn.Module],
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path_factory: pytest.TempPathFactory,
) -> LoweredArtifact:
    out = tmp_path_factory.mktemp("fp16") / "restore.aimodel"
    return _lowered(make_restore(), spec, samples, Precision.FP16, out)


@needs_coreai
def test_a_half_installed_extra_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coreai_torch", None)
    with pytest.raises(BackendError, match=r"coreai_torch.*pip install 'pocketcrafter\[coreai\]'"):
        coreai("coreai_torch")


@needs_coreai
def test_fp16_asset_is_the_network_up_to_float16(
    fp16: LoweredArtifact, spec: ComponentSpec, samples: list[Sample]
) -> None:
    assert fp16.rung1 == ()
    assert fp16.rung2[0].reaches(60)
    assert not fp16.rung2[0].reaches(100), "nothing was computed in float16"
    assert "Apple's own" in fp16.rung2_how
    assert fp16.coverage.share == 1
    assert fp16.coverage.macs_total > 0
    assert [p.name for p in fp16.path.parent.iterdir()] == [fp16.path.name]
    session = usable_backend(TARGETS[_IOS27].backend).open(fp16.path, spec, 1)
    assert np.abs(session.run(samples[0])["restored"] - samples[0]["tile"]).max() > 0.01


@needs_coreai
def test_the_same_network_gives_the_same_bytes_that_name_no_path(
    fp16: LoweredArtifact, restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    second = _lowered(restore, spec, samples, Precision.FP16, tmp_path / "second.aimodel")
    first = _bytes(fp16.path)
    assert _bytes(second.path) == first
    here = (str(Path(__file__).parents[3]).encode(), str(Path(torch.__file__).parents[1]).encode())
    assert not any(path in content for content in first.values() for path in here)


@needs_coreai
@pytest.mark.parametrize(
    ("precision", "least_db", "bits"),
    [(Precision.INT8, 45, 8.4), (Precision.W4, 30, 4.9), (Precision.PALETTE6, 40, 6.6)],
)
def test_assets_hold_few_bits_and_compute_what_torch_does(
    precision: Precision, least_db: float, bits: float, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 64, 1), nn.Conv2d(64, 64, 3, padding=1), nn.Hardswish())
    tail = nn.Sequential(nn.Conv2d(64, 12, 1), nn.PixelShuffle(2))

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.tail, self.condition = body, tail, nn.Linear(3, 64)

        def forward(self, tile: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = self.tail(self.body(tile) * self.condition(amounts).reshape(1, -1, 1, 1))
            return made

    model = Wide().eval()
    made = _lowered(model, spec, samples, precision, tmp_path / "wide.aimodel")
    assert made.rung1[0].reaches(least_db)
    assert not made.rung1[0].reaches(least_db + 45), "nothing was rounded"
    assert made.rung2[0].reaches(60)
    plain = _lowered(model, spec, samples, Precision.FP16, tmp_path / "plain.aimodel")
    stored = sum(map(len, _bytes(made.path).values())) - sum(map(len, _bytes(plain.path).values()))
    compressed = body[2].weight.numel()
    assert 8 * stored / compressed < bits - 16 + 2, "weights are not stored in few bits"


def _one_weight(program: ExportedProgram) -> None:
    weight = program.state_dict["head.weight"]
    weight.data[0, 0, 0, 0] += 0.1 * weight.abs().max()


def _one_axis(program: ExportedProgram) -> None:
    node = _first(program, torch.ops.aten.convolution.default, lambda n: n.args[8] == 1)
    with program.graph.inserting_after(node):
        turned = program.graph.call_function(torch.ops.aten.permute.default, (node, [0, 1, 3, 2]))
    turned.meta = dict(node.meta)
    node.replace_all_uses_with(turned, lambda user: user is not turned)


def _one_activation(program: ExportedProgram) -> None:
    _first(program, torch.ops.aten.hardswish.default).target = torch.ops.aten.relu.default


def _first(program: ExportedProgram, target: object, fits: Callable[[Node], bool] = lambda _: True) -> Node:
    return next(node for node in program.graph.nodes if node.target is target and fits(node))


@needs_coreai
@pytest.mark.parametrize("fault", [_one_weight, _one_axis, _one_activation])
def test_a_fault_of_the_converter_fails_the_gate(
    fault: Callable[[ExportedProgram], None],
    restore: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    convert = converting._converted

    def faulty(functions: Sequence[AssetFunction], programs: Sequence[ExportedProgram]) -> object:
        fault(programs[0])
        return convert(functions, programs)

    monkeypatch.setattr(converting, "_converted", faulty)
    with pytest.raises(GateError, match=r"`restored` is \d+\.\d dB from the network \(needed: 85 dB\)"):
        _lowered(restore, spec, samples, Precision.FP16, tmp_path / "restore.aimodel")
    assert list(tmp_path.iterdir()) == []


def _rows(count: int) -> dict[str, tuple[TensorSpec, ...]]:
    given, made = (TensorSpec(name=name, shape=(count, 64), semantics="rows") for name in ("given", "made"))
    return {"inputs": (given,), "outputs": (made,)}


@needs_coreai
@pytest.mark.parametrize(("precision", "bits"), [(Precision.FP16, 19), (Precision.PALETTE6, 8)])
def test_functions_share_their_weights_and_a_fault_in_a_further_one_fails_the_gate(
    precision: Precision, bits: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 64)).eval()
    further = FunctionSpec(name="prefill", **_rows(8))
    spec = ComponentSpec(name="rows", role=Role.LANGUAGE, **_rows(1), functions=(further,))
    one, many = ([{"given": torch.randn(n, 64).numpy()} for _ in range(3)] for n in (1, 8))
    out = tmp_path / "rows.aimodel"
    request = LoweringRequest(network, spec, one, precision, {_IOS27: out}, functions={"prefill": many})
    made = lower(request)[_IOS27]
    assert [f.output for f in made.rung2 if f.reaches(40)] == ["made", "prefill.made"]
    assert [f.name for f in made.functions] == ["prefill"]
    assert (out / PROGRAM).stat().st_size * 8 < bits * sum(p.numel() for p in network.parameters())
    session = usable_backend(TARGETS[_IOS27].backend).open_function(out, spec.of("prefill"), 1, "prefill")
    assert session.run(many[0])["made"].shape == (8, 64)
    convert = converting._converted

    def faulty(functions: Sequence[AssetFunction], programs: Sequence[ExportedProgram]) -> object:
        weight = programs[1].state_dict["2.weight"].clone()
        weight[0, 0] += weight.abs().max()
        programs[1].state_dict["2.weight"] = nn.Parameter(weight, requires_grad=False)
        return convert(functions, programs)

    monkeypatch.setattr(converting, "_converted", faulty)
    with pytest.raises(GateError, match=r"rows for coreai:ios27: .* \d+\.\d dB from the network"):
        lower(replace(request, outs={_IOS27: tmp_path / "faulty.aimodel"}))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.aimodel"]


@needs_coreai
def test_a_decoder_keeps_in_states_what_it_has_read(tmp_path: Path) -> None:
    """`main` keeps the contract; `decode` and `prefill` share its weights, and states that Apple's runtime writes."""
    torch.manual_seed(0)
    decoder, spec = Decoder().eval().requires_grad_(False), POCKET_SPECS[Pocket.DECODER]
    rng = np.random.default_rng(0)
    samples = [{t.name: rng.random(t.shape, np.float32) for t in spec.inputs} for _ in range(2)]
    for place, sample in enumerate(samples):
        sample["position"] = np.eye(1, spec.inputs[2].shape[1], 9 + place, dtype=np.float32)
    made = _lowered(decoder, spec, samples, Precision.FP32, tmp_path / "decoder.aimodel")
    assert [(f.name, len(f.states)) for f in made.functions] == [("main", 0), ("decode", 8), ("prefill", 8)]
    kept = [f for f in made.rung2 if f.output.startswith("prefill and decode: ")]
    assert len(kept) == 9
    assert all(f.reaches(100) for f in kept)
    weights = sum(t.numel() for t in (*decoder.parameters(), *decoder.buffers()))
    assert (made.path / PROGRAM).stat().st_size < 1.05 * 4 * weights


@needs_coreai
def test_a_session_runs_inside_a_running_event_loop(
    fp16: LoweredArtifact, spec: ComponentSpec, samples: list[Sample]
) -> None:
    session = usable_backend(TARGETS[_IOS27].backend).open(fp16.path, spec, 1)

    async def inside() -> np.ndarray:
        return session.run(samples[0])["restored"]

    assert np.array_equal(asyncio.run(inside()), session.run(samples[0])["restored"])


@needs_coreai
def test_a_damaged_asset_and_one_of_another_contract_are_refused(
    fp16: LoweredArtifact, spec: ComponentSpec, tmp_path: Path
) -> None:
    backend = usable_backend(TARGETS[_IOS27].backend)
    other = spec.model_copy(update={"inputs": spec.inputs[:1]})
    with pytest.raises(BackendError, match=r"its inputs are .* the contract of `restore` is"):
        backend.open(fp16.path, other, 1)
    for name, content in _bytes(fp16.path).items():
        (tmp_path / "damaged.aimodel").mkdir(exist_ok=True)
        (tmp_path / "damaged.aimodel" / name).write_bytes(content[:-1] if name == PROGRAM else content)
    with pytest.raises(BackendError, match="not a whole Core AI asset"):
        backend.open(tmp_path / "damaged.aimodel", spec, 1)
    with pytest.raises(BackendError, match="not a whole Core AI asset"):
        backend.open(tmp_path / "nowhere.aimodel", spec, 1)


@needs_coreai
def test_an_asset_is_read_back_with_its_types(fp16: LoweredArtifact, restore: nn.Module) -> None:
    function = read_asset(fp16.path)
    convolutions = [op for op in function.ops if op.kind == "conv"]
    assert len(convolutions) == sum(isinstance(module, nn.Conv2d) for module in restore.modules())
    assert {str(port.type) for port in convolutions[0].outputs} == {"fp16[1, 16, 16, 16]"}


def test_a_version_that_the_extra_does_not_take_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    older = {"coreai-core<2,>=1.0.0b3": "1.0.0b1", "coreai-opt<0.5,>=0.4.0": None}
    monkeypatch.setattr(runtime, "unmet", lambda _: older)
    runtime.why_misfit.cache_clear()
    try:
        with pytest.raises(
            PreflightError, match=r"coreai:ios27: coreai-core<2,>=1\.0\.0b3 is needed, not 1\.0\.0b1: pip install"
        ):
            check_targets([_IOS27])
    finally:
        runtime.why_misfit.cache_clear()


def test_without_the_extra_it_is_named(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "coreai" else find(name, *a))
    with pytest.raises(BackendError, match=r"pip install 'pocketcrafter\[coreai\]'"):
        _lowered(restore, spec, samples, Precision.FP16, tmp_path / "restore.aimodel")
    with pytest.raises(PreflightError, match=r"pocketcrafter\[coreai\]"):
        check_targets([_IOS27])


def test_what_core_ai_lacks_and_what_executorch_awaits_are_told(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"has no a16w8: Core AI .* The nearest is int8; it has fp32, fp16, int8"):
        _lowered(restore, spec, samples, Precision.A16W8, tmp_path / "restore.aimodel")
    awaited = TargetKind("executorch-coreai")
    with pytest.raises(BackendError, match="no release of ExecuTorch has a partitioner for Core AI"):
        lower(LoweringRequest(restore, spec, samples, Precision.FP16, {awaited: tmp_path / "restore.pte"}))
    with pytest.raises(PreflightError, match="no release of ExecuTorch has a partitioner"):
        check_targets([awaited])
