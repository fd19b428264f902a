"""Core ML packages, from a network to a folder that an interpreter proves here."""

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.coreml.convert import convert, exported
from pocketcrafter.export.lower.coreml.session import package_divergence
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.export.models import load_component
from pocketcrafter.quantize.config import CompressedWeights
from pocketcrafter.quantize.torch.compressed_weights import compress_weights, compressed_grids
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.targets import TARGETS, TargetKind

pytest.importorskip("coremltools")

_IOS18 = TargetKind("coreml:ios18")
_WEIGHTS = Path(importlib.import_module("pocketcrafter.export").__file__ or "").parent / "weights"


def _bytes(package: Path) -> dict[str, bytes]:
    return {str(p.relative_to(package)): p.read_bytes() for p in package.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def fp16(
    make_restore: Callable[[], nn.Module],
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path_factory: pytest.TempPathFactory,
) -> LoweredArtifact:
    out = tmp_path_factory.mktemp("fp16") / "restore.mlpackage"
    return lower(LoweringRequest(make_restore(), spec, samples, Precision.FP16, {_IOS18: out}))[_IOS18]


def test_fp16_package_is_the_network_up_to_float16(
    fp16: LoweredArtifact, spec: ComponentSpec, samples: list[Sample]
) -> None:
    assert fp16.rung1 == ()
    assert fp16.rung2[0].reaches(60)
    assert not fp16.rung2[0].reaches(100), "nothing was computed in float16"
    assert fp16.coverage.share == 1
    assert [p.name for p in fp16.path.parent.iterdir()] == [fp16.path.name]
    session = usable_backend(TARGETS[_IOS18].backend).open(fp16.path, spec, 1)
    assert np.abs(session.run(samples[0])["restored"] - samples[0]["tile"]).max() > 0.01


def test_the_same_network_gives_the_same_bytes_that_name_no_path(
    fp16: LoweredArtifact, restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    second = lower(LoweringRequest(restore, spec, samples, Precision.FP16, {_IOS18: tmp_path / "second.mlpackage"}))[
        _IOS18
    ]
    first = _bytes(fp16.path)
    assert _bytes(second.path) == first
    assert not any(str(Path(__file__).parents[3]).encode() in content for content in first.values())


@pytest.mark.parametrize("target", [TargetKind("coreml:ios17"), TargetKind("coreml:ios26")])
def test_older_and_newer_systems_get_the_same_network(
    target: TargetKind, restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    lowered = lower(LoweringRequest(restore, spec, samples, Precision.FP16, {target: tmp_path / "restore.mlpackage"}))[
        target
    ]
    assert lowered.rung2[0].reaches(60)


def test_shipped_tone_climbs_the_ladder_in_int8(tmp_path: Path) -> None:
    spec = POCKET_SPECS[Pocket.TONE]
    rng = np.random.default_rng(0)
    samples = [{t.name: rng.random(t.shape, np.float32) for t in spec.inputs} for _ in range(2)]
    model = load_component(Pocket.TONE, _WEIGHTS / "tone.safetensors")
    lowered = lower(LoweringRequest(model, spec, samples, Precision.INT8, {_IOS18: tmp_path / "tone.mlpackage"}))[
        _IOS18
    ]
    assert lowered.rung1[0].reaches(40)
    assert lowered.rung2[0].reaches(60)
    size = sum(len(content) for content in _bytes(lowered.path).values())
    assert size < 1.4 * sum(p.numel() for p in model.parameters()), "weights are not stored in INT8"


def test_kept_modules_keep_their_weights_and_the_rest_lies_on_the_grid(restore: nn.Module) -> None:
    before = {name: p.clone() for name, p in restore.named_parameters()}
    tail = nn.Sequential(restore.get_submodule("tail"), nn.Conv2d(12, 64, 3), nn.Linear(64, 64))
    scheme = CompressedWeights(keep_fp32=("1",))
    quantized = compress_weights(tail, scheme)
    assert list(compressed_grids(tail, scheme)) == ["2.weight"]
    weight = quantized.get_parameter("2.weight")
    steps = weight / (weight.abs().amax(1, keepdim=True) / 127)
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert weight.unique().numel() > 64
    assert torch.equal(quantized.get_parameter("1.weight"), tail.get_parameter("1.weight"))
    assert all(torch.equal(p, before[name]) for name, p in restore.named_parameters())


def test_a_channel_of_zeros_stays_zero() -> None:
    layer = nn.Linear(64, 64)
    nn.init.zeros_(layer.weight[3].detach())
    quantized = compress_weights(nn.Sequential(layer), CompressedWeights())
    weight = quantized.get_parameter("0.weight")
    assert weight.isfinite().all()
    assert not weight[3].any()


def test_a_failure_leaves_nothing_behind(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "restore.mlpackage"
    with pytest.raises(ConfigError, match=r"has no a16w8: .* The nearest is int8; it has fp32, fp16, int8"):
        lower(LoweringRequest(restore, spec, samples, Precision.A16W8, {_IOS18: out}))[_IOS18]
    with pytest.raises(ConfigError, match="keep_fp32"):
        lower(LoweringRequest(restore, spec, samples, Precision.FP16, {_IOS18: out}, keep_fp32=("no_such_module",)))[
            _IOS18
        ]
    assert list(tmp_path.iterdir()) == []


def test_without_coremltools_the_extra_is_named(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "coremltools", None)
    with pytest.raises(BackendError, match=r"pip install 'pocketcrafter\[build,coreml\]'"):
        lower(LoweringRequest(restore, spec, samples, Precision.FP16, {_IOS18: tmp_path / "restore.mlpackage"}))[_IOS18]


def test_the_interpreter_names_the_layer_that_float16_cannot_hold(
    fp16: LoweredArtifact, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    class Loud(nn.Module):
        def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
            return torch.relu(tile * 3e5 + amounts.reshape(1, 3, 1, 1)) * 1e-5

    assert package_divergence(fp16.path, spec, samples[0]) is None
    inputs = tuple(torch.tensor(samples[0][t.name].copy()) for t in spec.inputs)
    convert(exported(Loud(), inputs), spec, 18, tmp_path / "loud.mlpackage", half=True)
    found = package_divergence(tmp_path / "loud.mlpackage", spec, samples[0])
    assert found is not None
    assert found.kind == "cast"
    assert not np.isfinite(found.sqnr_db)
