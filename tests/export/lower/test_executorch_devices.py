"""ExecuTorch for Core ML and Vulkan, lowered on any machine; and the vendors' targets, which name their SDK."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.builder.preflight import PreflightError, check_targets
from pocketcrafter.export.coreml_backend import MilBackend
from pocketcrafter.export.lower.executorch.vendor import VendorSdkError
from pocketcrafter.export.lower.lowerings import LOWERINGS, lower
from pocketcrafter.export.lower.profiles import PROFILES
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.runtime.backends.registry import get_backend, why_unusable
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.capabilities import why_not_buildable
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError, GateError
from pocketcrafter.runtime.targets import TARGETS, XNNPACK, TargetKind

_COREML, _VULKAN = TargetKind("executorch-coreml"), TargetKind("executorch-vulkan")
_VENDORS = (
    (TargetKind("executorch-mediatek"), "NeuroPilot Express", "NEUROPILOT_SDK_ROOT"),
    (TargetKind("executorch-samsung"), "Exynos AI LiteCore", "EXYNOS_AI_LITECORE_ROOT"),
)


@pytest.fixture(scope="module")
def coreml(
    make_restore: Callable[[], nn.Module],
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path_factory: pytest.TempPathFactory,
) -> LoweredArtifact:
    pytest.importorskip("coremltools")
    out = tmp_path_factory.mktemp("coreml") / "restore.pte"
    return lower(LoweringRequest(make_restore(), spec, samples, Precision.FP16, {_COREML: out}))[_COREML]


def test_the_package_in_a_program_is_the_network_up_to_float16(
    coreml: LoweredArtifact, spec: ComponentSpec, samples: list[Sample]
) -> None:
    assert coreml.rung1 == ()
    assert coreml.rung2[0].reaches(60)
    assert not coreml.rung2[0].reaches(100), "nothing was computed in float16"
    assert (coreml.coverage.share, coreml.coverage.subgraphs) == (1, 1)
    assert coreml.coverage.macs_total > 0
    assert [p.name for p in coreml.path.parent.iterdir()] == ["restore.pte"]
    restored = MilBackend().open(coreml.path, spec, 1).run(samples[0])["restored"]
    assert restored.shape == samples[0]["tile"].shape


def test_a_program_whose_package_is_another_network_is_refused(
    spec: ComponentSpec, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converter's silent errors come through ExecuTorch too, as this one does where it is not written out first."""
    pytest.importorskip("coremltools")
    monkeypatch.setattr("pocketcrafter.export.lower.coreml.executorch.spell_out_gelus", lambda _graph: None)

    class Gelu(nn.Module):
        def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
            return F.gelu(tile + amounts.reshape(1, 3, 1, 1), approximate="tanh")

    with pytest.raises(
        GateError, match=r"executorch-coreml: converted in float32, `restored` is .* dB from the network"
    ):
        lower(LoweringRequest(Gelu(), spec, samples, Precision.FP16, {_COREML: tmp_path / "restore.pte"}))[_COREML]
    assert not any(tmp_path.iterdir())


def test_a_program_of_another_contract_or_backend_is_refused(
    coreml: LoweredArtifact, restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    other = spec.model_copy(update={"inputs": spec.inputs[:1]})
    with pytest.raises(BackendError, match="contract of `restore`"):
        MilBackend().open(coreml.path, other, 1)
    made = lower(LoweringRequest(restore, spec, samples[:2], Precision.FP32, {XNNPACK: tmp_path / "restore.pte"}))[
        XNNPACK
    ]
    with pytest.raises(BackendError, match="XnnpackBackend; the interpreter runs CoreMLBackend alone"):
        MilBackend().open(made.path, spec, 1)
    (tmp_path / "noise.pte").write_bytes(bytes(range(256)))
    with pytest.raises(BackendError, match=r"noise\.pte: not a program of one Core ML package"):
        MilBackend().open(tmp_path / "noise.pte", spec, 1)


def test_int8_weights_cannot_spare_a_module(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    pytest.importorskip("coremltools")
    with pytest.raises(ConfigError, match="cannot keep tail beside int8 weights"):
        lower(
            LoweringRequest(restore, spec, samples, Precision.INT8, {_COREML: tmp_path / "a.pte"}, keep_fp32=("tail",))
        )[_COREML]


def test_vulkan_takes_all_and_says_that_nothing_ran_it(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    made = lower(LoweringRequest(restore, spec, samples, Precision.FP16, {_VULKAN: tmp_path / "restore.pte"}))[_VULKAN]
    assert (made.coverage.share, made.coverage.subgraphs, made.coverage.fallbacks) == (1, 1, ())
    assert (made.rung1, made.rung2) == ((), ())
    assert "a phone must" in made.rung2_how
    assert made.path.stat().st_size > 1000
    assert why_unusable(TARGETS[_VULKAN].backend) == "its artifacts run on a phone only: re-run the goldens there"
    with pytest.raises(BackendError, match="on a phone only"):
        get_backend(TARGETS[_VULKAN].backend).open(made.path, spec, 1)
    assert why_not_buildable(_VULKAN) is None


def test_vulkan_gets_logarithms_and_what_it_leaves_outside_is_named(
    spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    class Odd(nn.Module):
        def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
            return torch.log(tile + 1) + torch.acos(amounts[:, :1].reshape(1, 1, 1, 1) / 2)

    coverage = lower(LoweringRequest(Odd(), spec, samples, Precision.FP16, {_VULKAN: tmp_path / "odd.pte"}))[
        _VULKAN
    ].coverage
    assert [(f.op, f.allowed) for f in coverage.fallbacks] == [("aten.acos.default", False)]
    assert "Vulkan does not take it" in coverage.fallbacks[0].reason


@pytest.mark.parametrize(("target", "sdk", "variable"), _VENDORS)
def test_a_vendors_target_names_its_sdk_and_variable_before_any_work(
    target: TargetKind,
    sdk: str,
    variable: str,
    restore: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(PreflightError, match=f"{target}: needs {sdk} .*set {variable} to"):
        check_targets([target])
    with pytest.raises(BackendError, match=f"cannot be built: needs {sdk} .*{variable} is not set"):
        lower(LoweringRequest(restore, spec, samples, Precision.FP16, {target: tmp_path / "a.pte"}))[target]
    monkeypatch.setenv(variable, str(tmp_path / "gone"))
    with pytest.raises(PreflightError, match="which is no folder"):
        check_targets([target])


@pytest.mark.parametrize(("target", "sdk", "variable"), _VENDORS)
def test_a_folder_that_holds_no_sdk_is_told_from_the_real_backend(
    target: TargetKind,
    sdk: str,
    variable: str,
    restore: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    check_targets([target])
    with pytest.raises(VendorSdkError, match=f"{sdk} in .* cannot be loaded"):
        lower(LoweringRequest(restore, spec, samples, Precision.FP16, {target: tmp_path / "a.pte"}))[target]
    assert list(tmp_path.iterdir()) == []


def test_every_target_has_a_profile_and_a_lowering() -> None:
    buildable = {target.family for target, row in TARGETS.items() if not row.awaits}
    assert {target.family for target in TARGETS} == set(PROFILES)
    assert buildable == set(LOWERINGS)
