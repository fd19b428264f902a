"""LiteRT models, from a network to a file that LiteRT's own interpreter proves here."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from pocketcrafter.export.builder.preflight import PreflightError, check_targets
from pocketcrafter.export.builder.stage import tool_versions
from pocketcrafter.export.lower.litert import convert as converting
from pocketcrafter.export.lower.litert.convert import apply_recipe
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.measure import run_artifact, run_torch
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.runtime.backends.litert import LiteRtBackend, LiteRtSession
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.capabilities import why_not_buildable
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError, GateError
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.targets import LITERT, LITERT_TORCH, TARGETS

needs_converter = pytest.mark.skipif(
    why_not_buildable(LITERT) is not None, reason=f"litert cannot be built here: {why_not_buildable(LITERT)}"
)


class WithConditions(nn.Module):
    """A network whose convolution the converter folds ``1 - x`` into."""

    def __init__(self, restore: nn.Module) -> None:
        super().__init__()
        self.restore, self.last = restore, nn.Conv2d(3, 3, 1)

    def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
        made: Tensor = self.restore(tile, amounts)
        return 1 - self.last(made)


def _lowered(
    model: nn.Module, spec: ComponentSpec, samples: list[Sample], precision: Precision, out: Path, **more: Any
) -> LoweredArtifact:
    return lower(LoweringRequest(model, spec, samples, precision, {LITERT: out}, **more))[LITERT]


@pytest.fixture(scope="module")
def fp32(
    make_restore: Callable[[], nn.Module],
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path_factory: pytest.TempPathFactory,
) -> LoweredArtifact:
    out = tmp_path_factory.mktemp("fp32") / "restore.tflite"
    return _lowered(WithConditions(make_restore()).eval(), spec, samples, Precision.FP32, out)


@needs_converter
def test_fp32_model_is_the_network_though_the_converter_turns_signs(fp32: LoweredArtifact, spec: ComponentSpec) -> None:
    """litert-converter 0.5.0 makes ``conv(x) - 1`` of ``1 - conv(x)``, unless the difference is written as a sum."""
    assert fp32.rung1 == ()
    assert fp32.rung2[0].reaches(100)
    assert "LiteRT" in fp32.rung2_how
    assert fp32.coverage.share == 1
    assert fp32.coverage.macs_total > 0
    assert [p.name for p in fp32.path.parent.iterdir()] == [fp32.path.name]
    other = spec.model_copy(update={"inputs": spec.inputs[:1]})
    with pytest.raises(BackendError, match=r"its inputs are .* the contract of `restore` is"):
        usable_backend(TARGETS[LITERT].backend).open(fp32.path, other, 1)


@needs_converter
def test_int8_model_has_the_scales_of_the_simulation(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    made = _lowered(restore, spec, samples, Precision.INT8, tmp_path / "int8.tflite", keep_fp32=("tail",))
    assert made.rung1[0].reaches(45)
    assert not made.rung1[0].reaches(90), "nothing was rounded"
    assert made.rung2[0].reaches(45)
    assert not [fallback for fallback in made.coverage.fallbacks if not fallback.allowed]
    (tmp_path / "again").mkdir()
    again = _lowered(restore, spec, samples, Precision.INT8, tmp_path / "again" / "int8.tflite", keep_fp32=("tail",))
    assert again.path.read_bytes() == made.path.read_bytes()


@needs_converter
def test_recipes_store_weights_in_few_bits(
    fp32: LoweredArtifact, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    half, integers = tmp_path / "half.tflite", tmp_path / "int8.tflite"
    apply_recipe(fp32.path, "float16", spec, half)
    apply_recipe(fp32.path, "static_wi8_ai8", spec, integers, samples)
    (expected,) = run_artifact(LiteRtBackend(), fp32.path, samples[:1], spec)
    for path, least in ((half, 55), (integers, 15)):
        assert path.stat().st_size < fp32.path.stat().st_size
        (actual,) = run_artifact(LiteRtBackend(), path, samples[:1], spec)
        ratio = sqnr_db(expected["restored"], actual["restored"])
        assert least < ratio < 110


@needs_converter
def test_a_fault_of_the_converter_fails_the_gate(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = converting.export_stateless

    def faulty(model: nn.Module, inputs: tuple[Tensor, ...]) -> object:
        program = export(model, inputs)
        program.state_dict["head.weight"].data[0] *= -1
        return program

    monkeypatch.setattr(converting, "export_stateless", faulty)
    with pytest.raises(GateError, match=r"`restored` is \d+\.\d dB from the network \(needed: 75 dB\)"):
        _lowered(restore, spec, samples, Precision.FP16, tmp_path / "restore.tflite")
    assert list(tmp_path.iterdir()) == []


@needs_converter
def test_what_the_converter_refuses_and_what_is_no_model_are_told(
    fp32: LoweredArtifact, spec: ComponentSpec, tmp_path: Path
) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"nothing")
    with pytest.raises(BackendError, match="LiteRT cannot open it"):
        LiteRtBackend().open(tmp_path / "broken.tflite", spec, 1)
    with pytest.raises(BackendError, match=r"restore: litert-torch failed: AttributeError: .*no_such_recipe"):
        apply_recipe(fp32.path, "no_such_recipe", spec, tmp_path / "made.tflite")
    versions = tool_versions(("litert-torch", "ai-edge-quantizer"))
    assert "absent" not in versions.values(), "the converter's versions are not part of the stage's key"


def test_float_weights_of_a_fake_quantized_model_are_its_own(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample]
) -> None:
    simulated = quantize(restore.requires_grad_(False), StaticInt8(), Calibration(samples))
    assert isinstance(simulated, GraphModule)
    changed = converting._with_float_weights(simulated)
    stored = [buffer for _, buffer in changed.named_buffers()]
    assert not any(buffer.dtype is torch.int8 for buffer in stored), "integers are left that nothing quantizes"
    before, after = (run_torch(model, samples[:1], spec)[0]["restored"] for model in (simulated, changed))
    assert np.array_equal(before, after)


def test_integers_are_given_and_taken_by_their_scales() -> None:
    """A model in INT8 may have inputs and outputs in INT8; the contract of a session is float32."""
    spec = POCKET_SPECS[Pocket.RESTORE]
    rng = np.random.default_rng(4)
    inputs = {t.name: rng.random(t.shape, np.float32) for t in spec.inputs}
    restored = LiteRtSession(_Negated(), spec).run(inputs)["restored"]
    assert restored.dtype == np.float32
    # One step of the input and one of the output.
    np.testing.assert_allclose(restored, 1 - inputs["tile"], atol=1 / 255)


class _Negated:
    """A signature as LiteRT has it: the first input, in integers of one scale, negated into those of another."""

    def get_input_details(self) -> dict[str, Any]:
        tensors = {t.name: {"dtype": np.float32, "quantization": (0.0, 0)} for t in POCKET_SPECS[Pocket.RESTORE].inputs}
        return {**tensors, "tile": {"dtype": np.int8, "quantization": (1 / 255, -128)}}

    def get_output_details(self) -> dict[str, Any]:
        return {"restored": {"dtype": np.int8, "quantization": (1 / 255, -128)}}

    def __call__(self, **given: Any) -> dict[str, Any]:
        assert given["tile"].dtype == np.int8
        return {"restored": (-1 - given["tile"]).astype(np.int8)}


def _install(environment: Path, package: str, version: str) -> None:
    """Leave what pip leaves of a package, and nothing of another version."""
    packages = environment / "lib/python3.11/site-packages"
    for old in packages.glob(f"{package}-*"):
        shutil.rmtree(old)
    about = packages / f"{package}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Name: {package}\nVersion: {version}\n")


def test_without_its_extra_or_its_environment_they_are_named(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LITERT_TORCH.variable, raising=False)
    with pytest.raises(PreflightError, match=r"litert: needs litert-torch \(PyPI, .*set LITERT_TORCH_ENV to that fold"):
        check_targets([LITERT])
    with pytest.raises(BackendError, match=r"needs litert-torch .*LITERT_TORCH_ENV is not set"):
        _lowered(restore, spec, samples, Precision.FP32, tmp_path / "restore.tflite")
    monkeypatch.setenv(LITERT_TORCH.variable, str(tmp_path))
    wrong = {
        "0.9.1": r"has 0\.9\.1 for litert-torch==0\.10\.\*, nothing for torch==2\.13\.\*",
        "0.10.0": "has nothing for torch",
    }
    for version, said in wrong.items():
        _install(tmp_path, "litert_torch", version)
        with pytest.raises(BackendError, match=said):
            converting.converter_python()
    _install(tmp_path, "torch", "2.13.0+cpu")
    assert converting.converter_python() == tmp_path / "bin/python"
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if "ai_edge" in name else find(name, *a))
    with pytest.raises(PreflightError, match=r"pip install 'pocketcrafter\[litert\]'"):
        check_targets([LITERT])


@needs_converter
def test_what_it_cannot_do_is_told(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "restore.tflite"
    with pytest.raises(ConfigError, match="has no a16w8: XNNPACK"):
        _lowered(restore, spec, samples, Precision.A16W8, out)
    with pytest.raises(ConfigError, match="has no w8a8-dynamic: AI Edge Quantizer's linear layers"):
        _lowered(restore, spec, samples, Precision.W8A8_DYNAMIC, out)
