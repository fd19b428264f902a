"""QNN in the build: its wheel is looked at before any work, its targets come when they are asked for."""

import platform
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from pocketcrafter.export.builder.graph import bundle_stage
from pocketcrafter.export.builder.preflight import PreflightError, check_targets
from pocketcrafter.export.builder.runner import in_order
from pocketcrafter.export.builder.settings import LowerSettings, artifact_path
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.qnn import run_qnn, why_no_qnn
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.bundle.manifest import TargetName, safe_path
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.targets import ONNX, TARGETS, TargetKind

_LIBRARIES = ("libonnxruntime_providers_qnn.so", "libQnnHtp.so", "libHtpPrepare.so", "libQnnSystem.so")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that packages are looked for in, on a machine that QNN's wheel is made for."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    own = tmp_path / "pocketcrafter-0.dist-info"
    own.mkdir()
    (own / "METADATA").write_text("Metadata-Version: 2.1\nName: pocketcrafter\nVersion: 0\n")
    return tmp_path


def install(site: Path, version: str, libraries: tuple[str, ...] = _LIBRARIES) -> None:
    info, package = site / f"onnxruntime_qnn-{version}.dist-info", site / "onnxruntime_qnn"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: onnxruntime-qnn\nVersion: {version}\n")
    package.mkdir()
    (package / "__init__.py").touch()
    for library in libraries:
        (package / library).touch()


def test_the_right_wheel_is_taken(site: Path) -> None:
    install(site, "2.5.0")
    assert why_no_qnn() is None
    check_targets([TargetKind("qnn-context:sm8750")])


@pytest.mark.usefixtures("site")
def test_without_the_wheel_the_extra_is_named_before_any_work() -> None:
    assert why_unusable(BackendName.QNN_EMULATOR) == (
        "onnxruntime-qnn is not installed: pip install 'pocketcrafter[qnn]'"
    )
    with pytest.raises(PreflightError, match=r"qnn-context:sm8850: .*pip install 'pocketcrafter\[qnn\]'"):
        check_targets([ONNX, TargetKind("qnn-context:sm8850")])
    with pytest.raises(BackendError, match=r"pip install 'pocketcrafter\[qnn\]'"):
        run_qnn(Path("any.onnx"))


@pytest.mark.parametrize("version", ["2.4.0", "2.6.0", "2.7.0"])
def test_another_version_is_refused_with_the_one_that_works(site: Path, version: str) -> None:
    install(site, version)
    reason = why_no_qnn()
    assert reason is not None
    assert f"onnxruntime-qnn {version} is installed" in reason
    assert "2.5.0" in reason
    assert "pip install 'pocketcrafter[qnn]'" in reason


def test_a_library_that_is_gone_is_named(site: Path) -> None:
    install(site, "2.5.0", _LIBRARIES[:-1])
    reason = why_no_qnn()
    assert reason is not None
    assert "libQnnSystem.so" in reason
    assert "libQnnHtp.so" not in reason


def test_other_machines_are_told_that_there_is_no_emulator_for_them(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "2.5.0")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    reason = why_no_qnn()
    assert reason is not None
    assert "x86-64 only" in reason


def test_a_target_beside_the_recipes_own_is_built_when_it_is_asked_for() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    asked = {
        stage.name for stage in bundle_stage(recipe, DEFAULT_RECIPE, (TargetKind("qnn-context:sm8750"),)).ancestors()
    }
    assert "lower restore for qnn-context:sm8750" in asked
    assert not [name for name in asked if name.startswith("verify") and "onnx" in name]
    default = {stage.name for stage in bundle_stage(recipe, DEFAULT_RECIPE).ancestors()}
    assert not [name for name in default if "qnn" in name]


def test_what_accelerators_leave_to_the_cpu_is_lowered_once() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    asked = (ONNX, TargetKind("qnn-context:sm8650"), TargetKind("qnn-context:sm8750"))
    judge = recipe.components[Pocket.JUDGE]
    assert {judge.precision[target] for target in asked} == {Precision.FP32}
    stages = in_order(bundle_stage(recipe, DEFAULT_RECIPE, asked))
    assert [s.name for s in stages if s.name.startswith("lower judge")] == ["lower judge for onnx"]
    assert len({s.name for s in stages if s.name.startswith("verify judge")}) == len(asked)


def test_programs_for_several_socs_are_lowered_together_where_their_precision_is_one() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    asked = tuple(t for t in TARGETS if t.family == "executorch-qnn")
    names = {stage.name for stage in bundle_stage(recipe, DEFAULT_RECIPE, asked).ancestors()}
    together = "executorch-qnn:sm8650, executorch-qnn:sm8750, executorch-qnn:sm8850"
    assert f"lower tone for {together}" in names
    assert {f"verify tone for {target}" for target in asked} <= names
    tone = recipe.components[Pocket.TONE]
    other = {**tone.precision, TargetKind("executorch-qnn:sm8750"): Precision.A16W8}
    components = {**recipe.components, Pocket.TONE: tone.model_copy(update={"precision": other})}
    names = {
        s.name
        for s in bundle_stage(recipe.model_copy(update={"components": components}), DEFAULT_RECIPE, asked).ancestors()
    }
    assert "lower tone for executorch-qnn:sm8650, executorch-qnn:sm8850" in names
    assert "lower tone for executorch-qnn:sm8750" in names


def test_what_is_left_to_the_cpu_is_not_what_the_cpu_has_in_another_precision() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    made = recipe.components[Pocket.JUDGE]
    other = made.model_copy(update={"precision": {**made.precision, ONNX: Precision.INT8}})
    recipe = recipe.model_copy(update={"components": {**recipe.components, Pocket.JUDGE: other}})
    stages = {
        s.name: s for s in bundle_stage(recipe, DEFAULT_RECIPE, (ONNX, TargetKind("qnn-context:sm8650"))).ancestors()
    }
    found = {
        name: stage.settings.precision
        for name, stage in stages.items()
        if name.startswith("lower judge") and isinstance(stage.settings, LowerSettings)
    }
    assert found == {
        "lower judge for onnx": Precision.INT8,
        "lower judge for onnx in fp32": Precision.FP32,
    }


def test_a_target_that_a_component_has_no_precision_for_is_refused() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    tone = recipe.components[Pocket.TONE].model_copy(update={"precision": {ONNX: Precision.INT8}})
    recipe = recipe.model_copy(update={"components": {**recipe.components, Pocket.TONE: tone}, "targets": (ONNX,)})
    with pytest.raises(ConfigError, match="has no target qnn-context:sm8750; it has onnx"):
        bundle_stage(recipe, DEFAULT_RECIPE, (TargetKind("qnn-context:sm8750"),))


def test_a_manifest_takes_the_target_with_its_soc_and_a_path_that_windows_takes() -> None:
    path = artifact_path(Pocket.RESTORE, TargetKind("qnn-context:sm8750"))
    assert safe_path(path) == "targets/qnn-context-sm8750/restore.onnx"
    assert TypeAdapter(TargetName).validate_python("qnn-context:sm8750") == TargetKind("qnn-context:sm8750")
    with pytest.raises(ValidationError):
        TypeAdapter(TargetName).validate_python("qnn-context:")
