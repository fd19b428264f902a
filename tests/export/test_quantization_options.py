"""What recipes change of a precision's scheme: it reaches the artifact, or is refused with what can be changed."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from torch import nn

from pocketcrafter.export.builder.graph import bundle_stage
from pocketcrafter.export.builder.runner import in_order
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.precisions import scheme_of
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.export.recipe import Recipe, load_recipe
from pocketcrafter.quantize.config import (
    CompressedWeights,
    DynamicInt8,
    Gptq,
    GroupedWeights,
    MinMax,
    Nearest,
    Percentile,
    QuantizationOptions,
    StaticInt8,
    WeightOnly,
)
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.targets import ONNX, TARGETS, XNNPACK, TargetKind

_IOS18 = TargetKind("coreml:ios18")


def _recipe(tmp_path: Path, component: str, **keys: object) -> Recipe:
    made = {"extends": "default.yaml", "components": {component: keys}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(made))
    return load_recipe(tmp_path / "r.yaml")


def test_a_recipe_states_group_size_and_rounding(tmp_path: Path) -> None:
    options = {"onnx": {"group_size": 64, "rounding": {"method": "gptq", "damping": 0.01}}}
    recipe = _recipe(tmp_path, "decoder", precision={"onnx": "w4"}, quantization=options)
    made = recipe.components[Pocket.DECODER]
    assert scheme_of(ONNX, Precision.W4, made.options(ONNX)) == WeightOnly(
        bits=4, group_size=64, rounding=Gptq(damping=0.01)
    )
    assert scheme_of(XNNPACK, Precision.W8A8_DYNAMIC, made.options(XNNPACK)) == DynamicInt8()


def test_a_family_of_targets_has_one_entry(tmp_path: Path) -> None:
    keys = {"precision": {"qnn-context:*": "int8"}, "quantization": {"qnn-context:*": {"range": {"method": "mse"}}}}
    made = _recipe(tmp_path, "tone", **keys).components[Pocket.TONE]
    contexts = [target for target in TARGETS if target.family == "qnn-context"]
    assert len(contexts) > 1
    assert {made.options(target).range for target in contexts} == {made.options(contexts[0]).range}
    assert made.options(contexts[0]).given


def test_targets_with_other_ranges_are_compiled_from_other_sources(tmp_path: Path) -> None:
    """Guards a silent trap: stages of one name are one stage, and the second target got the first one's source."""
    contexts = [TargetKind(f"qnn-context:{soc}") for soc in ("sm8650", "sm8750", "sm8850")]
    keys = {
        "precision": {"qnn-context:*": "int8"},
        "quantization": {"qnn-context:*": {"range": {"method": "mse"}}, "qnn-context:sm8650": {}},
    }
    recipe = _recipe(tmp_path, "tone", **keys)
    stages = in_order(bundle_stage(recipe, tmp_path / "r.yaml", tuple(contexts)))
    sources = [s for s in stages if s.name.startswith("lower tone for onnx in int8")]
    assert {s.name for s in sources} == {
        "lower tone for onnx in int8, to be compiled",
        "lower tone for onnx in int8 with range mse, to be compiled",
    }


@pytest.mark.parametrize(
    ("precision", "options", "words"),
    [
        ({"onnx": "int8"}, {"onnx": {"group_size": 64}}, "onnx in int8 has no group_size to choose: only range"),
        ({"coreml:ios18": "w4"}, {"coreml:ios18": {"rounding": {"method": "nearest"}}}, "only group_size can be set"),
        ({"coreml:ios18": "fp16"}, {"coreml:ios18": {"group_size": 64}}, "nothing can be set there"),
        ({"executorch-xnnpack": "8da4w"}, {"executorch-xnnpack": {"group_size": 16}}, "group_size: Input should be 32"),
        ({"onnx": "w4"}, {"onnx": {"rounding": {"method": "gptq", "damping": 7}}}, "damping"),
        ({"onnx": "w4"}, {"onnx": {"group_sise": 64}}, "did you mean `group_size`"),
        ({"onnx": "w4"}, {"onyx:*": {"group_size": 64}}, "matches no target"),
    ],
)
def test_what_a_target_cannot_honor_is_refused(
    tmp_path: Path, precision: dict[str, str], options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        _recipe(tmp_path, "decoder", precision=precision, quantization=options)


@pytest.mark.parametrize("target", TARGETS)
def test_every_tunable_option_is_one_that_the_scheme_has(target: TargetKind) -> None:
    profile = profile_of(target)
    assert set(profile.schemes) <= set(profile.precisions) - {Precision.FP32, Precision.FP16}
    for scheme in profile.schemes.values():
        assert set(scheme.tunable) <= set(type(scheme.config).model_fields) & set(QuantizationOptions.model_fields)


def test_bits_of_modules_are_for_weights_in_groups() -> None:
    scheme = scheme_of(ONNX, Precision.W4, weight_bits={"word": 8})
    assert isinstance(scheme, GroupedWeights)
    assert scheme.module_bits == {"word": 8}
    packaged = scheme_of(_IOS18, Precision.W4, weight_bits={"word": 8})
    assert isinstance(packaged, CompressedWeights)
    assert packaged.module_bits == {"word": 8}
    for target, precision in (("executorch-coreml", Precision.W4), (_IOS18, Precision.INT8)):
        with pytest.raises(ConfigError, match=f"{target} has no weights of other bits in {precision}"):
            scheme_of(TargetKind(target), precision, weight_bits={"word": 8})
    with pytest.raises(ConfigError, match="Input should be 8 or 4"):
        scheme_of(XNNPACK, Precision.A8W4_DYNAMIC, weight_bits={"word": 2})


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(128, 128, bias=False), nn.ReLU(), nn.Linear(128, 64, bias=False)).eval()


def _lowered(
    network: nn.Module, target: TargetKind, precision: Precision, options: QuantizationOptions, out: Path
) -> LoweredArtifact:
    x, y = (TensorSpec(name=name, shape=(1, size), semantics="vector") for name, size in (("x", 128), ("y", 64)))
    spec = ComponentSpec(name=Pocket.RESTORE, role=Role.EDIT, inputs=(x,), outputs=(y,))
    samples = [{"x": np.random.default_rng(i).normal(size=(1, 128)).astype(np.float32)} for i in range(6)]
    request = LoweringRequest(network, spec, samples, precision, {target: out}, quantization=options)
    return lower(request)[target]


def test_a_group_size_reaches_the_artifact(network: nn.Module, tmp_path: Path) -> None:
    for size in (32, 128):
        options = QuantizationOptions(group_size=size, rounding=Nearest())
        made = _lowered(network, ONNX, Precision.W4, options, tmp_path / f"{size}.onnx")
        blocks = {a.i for n in onnx.load(made.path).graph.node for a in n.attribute if a.name == "block_size"}
        assert blocks == {size}


@pytest.mark.parametrize(
    ("target", "precision"),
    [(XNNPACK, Precision.A8W4_DYNAMIC), (_IOS18, Precision.W4), (TargetKind("executorch-coreml"), Precision.W4)],
)
def test_larger_groups_make_smaller_artifacts_that_are_proved_as_well(
    network: nn.Module, target: TargetKind, precision: Precision, tmp_path: Path
) -> None:
    if "coreml" in target:
        pytest.importorskip("coremltools")
    sizes = []
    for group_size in (32, 128):
        out = tmp_path / str(group_size) / f"net{TARGETS[target].suffix}"
        out.parent.mkdir()
        made = _lowered(network, target, precision, QuantizationOptions(group_size=group_size), out)
        assert made.rung2[0].reaches(55), "the artifact computes something else than its simulation"
        sizes.append(sum(p.stat().st_size for p in out.parent.rglob("*") if p.is_file()))
    scales = 2 * (128 + 64) * (128 // 32 - 1)
    assert sizes[0] - sizes[1] > 0.9 * scales


def test_a_range_reaches_the_artifact(network: nn.Module, tmp_path: Path) -> None:
    """Percentiles of a hundred values clip their largest; from minimum to maximum nothing is."""
    scales = []
    for method in (MinMax(), Percentile(percent=90)):
        options = QuantizationOptions(range=method)
        made = _lowered(network, ONNX, Precision.INT8, options, tmp_path / "int8.onnx")
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(made.path).graph.initializer}
        scales.append(max(float(v) for name, v in stored.items() if name.startswith("relu") and "scale" in name))
    assert scales[1] < 0.8 * scales[0]
    assert scheme_of(ONNX, Precision.INT8) == StaticInt8()
