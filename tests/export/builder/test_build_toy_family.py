"""A family is an entry on each side: with these alone its recipe becomes a bundle that everything takes."""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")

from safetensors.torch import save_model  # noqa: E402

from pocketcrafter.benchmarks.latency.measure import LatencyOptions, measure_latency  # noqa: E402
from pocketcrafter.benchmarks.parity.measure import climb  # noqa: E402
from pocketcrafter.benchmarks.parity.results import store  # noqa: E402
from pocketcrafter.benchmarks.profile.measure import profile_bundle  # noqa: E402
from pocketcrafter.benchmarks.report.page import report_page  # noqa: E402
from pocketcrafter.export.builder.graph import bundle_stage  # noqa: E402
from pocketcrafter.export.builder.stage import Stage  # noqa: E402
from pocketcrafter.export.families.family import WEIGHTS, ComponentPlan, Drawn, Family, Part, Plan  # noqa: E402
from pocketcrafter.export.families.registry import FAMILIES  # noqa: E402
from pocketcrafter.export.recipe import Recipe, load_recipe, resolve  # noqa: E402
from pocketcrafter.export.shipped import DEFAULT_RECIPE  # noqa: E402
from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.attribute_gate import GateSettings  # noqa: E402
from pocketcrafter.runtime.bundle.gates import Gate, Metric  # noqa: E402
from pocketcrafter.runtime.bundle.reader import Bundle  # noqa: E402
from pocketcrafter.runtime.bundle.split import split  # noqa: E402
from pocketcrafter.runtime.bundle.verify import verify  # noqa: E402
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec  # noqa: E402
from pocketcrafter.runtime.config import Config  # noqa: E402
from pocketcrafter.runtime.critique import critique_from  # noqa: E402
from pocketcrafter.runtime.errors import ConfigError  # noqa: E402
from pocketcrafter.runtime.families import FAMILIES as RUNTIME_FAMILIES  # noqa: E402
from pocketcrafter.runtime.families import Family as RuntimeFamily  # noqa: E402
from pocketcrafter.runtime.families import PairSource  # noqa: E402
from pocketcrafter.runtime.photo import Photo, decode, encode  # noqa: E402
from pocketcrafter.runtime.pipeline import Enhanced  # noqa: E402
from pocketcrafter.runtime.plan import Attribute, EditPlan  # noqa: E402

CONTRACT = ComponentSpec(
    name="glow",
    role=Role.EDIT,
    inputs=(TensorSpec(name="mean", shape=(1, 3), minimum=0, maximum=1, semantics="Mean color"),),
    outputs=(TensorSpec(name="gain", shape=(1, 3), semantics="Factor of each channel"),),
)


class ToySettings(Config):
    """What a toy bundle holds beside its component."""

    most: float


class Glow(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)

    def forward(self, mean: torch.Tensor) -> torch.Tensor:
        return 1 + torch.sigmoid(self.linear(mean))


class ToyPipeline:
    """Multiplies each channel."""

    def __init__(self, source: PairSource) -> None:
        self._session = source.session("glow")
        self._most = ToySettings.model_validate(source.bundle.manifest.settings).most

    def enhance(self, photo: Photo, *_: object, **_options: bool) -> Enhanced:
        mean = (photo.pixels.reshape(-1, 3).mean(0, keepdims=True) / 255).astype(np.float32)
        gain = np.minimum(self._session.run({"mean": mean})["gain"], self._most)
        pixels = np.clip(photo.pixels * gain, 0, 255).astype(np.uint8)
        zeros = np.zeros(len(Attribute), np.float32)
        gate = GateSettings.uniform(presence=1, confidence=1, dead_zone=0)
        critique = critique_from(zeros, zeros, zeros, 0.5, gate)
        return Enhanced(photo=photo.with_pixels(pixels), plan=EditPlan(), critique=critique, timings={})


class ToyNetworks:
    """Loads the toy's network, and draws colors for it."""

    def content(self, weights: Path) -> Path:
        return weights

    def load(self, component: str, inputs: Mapping[str, Path], *_options: object) -> Part:
        assert component == "glow"
        model = Glow()
        model.load_state_dict(importlib.import_module("safetensors.torch").load_file(inputs[WEIGHTS]))
        return Part(model.eval().requires_grad_(False), CONTRACT)

    def draw(
        self, part: Part, _inputs: Mapping[str, Path], count: int, seed: int, *_: object, **_more: object
    ) -> Drawn:
        rng = np.random.default_rng(seed)
        shape = part.spec.inputs[0].shape
        return Drawn([{"mean": rng.random(shape).astype(np.float32)} for _ in range(count)])


def plan(recipe: Recipe, path: Path) -> Plan:
    weights = {name: resolve(path, made.weights) for name, made in recipe.components.items()}
    return Plan({name: ComponentPlan(network={WEIGHTS: file}) for name, file in weights.items()})


@pytest.fixture
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("toy_family")
    vars(module).update(networks=ToyNetworks(), plan=plan, pipeline=lambda source, _threads: ToyPipeline(source))
    monkeypatch.setitem(sys.modules, "toy_family", module)
    runtime = RuntimeFamily(
        settings=ToySettings,
        ladder={3: (Gate(metric=Metric.DELTA_E_MEAN, maximum=1),)},
        faults=lambda _manifest: iter(()),
        describe=lambda settings: iter([f"gain at most {settings.most:g}"]),
        pipeline="toy_family:pipeline",
    )
    built = Family(
        recipe="pocketcrafter.export.recipe:Recipe",
        plan="toy_family:plan",
        networks="toy_family:networks",
        tools=("torch",),
        not_run={0: "there is no teacher", 3: "whole photos are not part of the build"},
    )
    monkeypatch.setitem(RUNTIME_FAMILIES, "toy", runtime)
    monkeypatch.setitem(FAMILIES, "toy", built)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(Glow(), str(tmp_path / "glow.safetensors"))
    (tmp_path / "most.json").write_text("1.75")
    licenses = yaml.safe_load(DEFAULT_RECIPE.read_text())["licenses"]
    component = {"weights": "glow.safetensors", "samples": 4, "precision": {"onnx": "fp32"}}
    content = {
        "name": "toy", "family": "toy", "targets": ["onnx"], "components": {"glow": component},
        "settings": {"most": "most.json"}, "licenses": licenses,
    }  # fmt: skip
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "toy.yaml"


def _run(stage: Stage, root: Path, done: dict[str, Path]) -> Path:
    """Run a stage and those that it needs, in this process: a child would not know the toy."""
    if stage.name not in done:
        inputs = {n: _run(i, root, done) if isinstance(i, Stage) else i for n, i in stage.inputs.items()}
        done[stage.name] = out = root / f"stage-{len(done)}"
        out.mkdir()
        module, _, function = stage.run.partition(":")
        getattr(importlib.import_module(module), function)(inputs, stage.settings, out, lambda *_: None)
    return done[stage.name]


@pytest.mark.usefixtures("_toy")
def test_an_entry_on_each_side_makes_a_bundle_that_everything_takes(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = _run(bundle_stage(load_recipe(recipe), recipe), tmp_path, {}) / "bundle"
    opened = Bundle.open(bundle)
    assert (opened.manifest.family, opened.manifest.settings) == ("toy", {"most": 1.75})
    assert opened.manifest.entry("glow").artifacts["onnx"].path == "targets/onnx/glow.onnx"
    assert verify(bundle, 1).ok
    assert cli.run(["inspect", str(bundle)]) == 0
    assert "gain at most 1.75" in capsys.readouterr().out

    (part,) = split(bundle, tmp_path / "parts").values()
    assert verify(part, 1).ok

    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    encode(Photo(np.full((40, 60, 3), 80, np.uint8)), photo)
    assert cli.run(["enhance", str(photo), "--bundle", str(bundle), "-o", str(out)]) == 0
    assert decode(out).pixels.mean() > 85

    report = climb(opened, [], [photo], weights=recipe.parent, threads=1)
    assert report.failures == []
    assert [(t.rung.passed, t.rung.gates) for t in report.targets] == [(True, RUNTIME_FAMILIES["toy"].ladder[3])]
    kept = store(bundle, report)
    assert [rung.passed for rung in kept.entry("glow").artifacts["onnx"].rungs] == [None, None, True, True, None]

    options = LatencyOptions(targets=("onnx",), competitors=(), repeats=6, loads=1, photos_mp=(0.2,), threads=(1,))
    timed = measure_latency(bundle, options)
    assert [case.component for case in timed.cases] == ["glow"]
    assert "family toy does not carry out" in " ".join(skipped.reason for skipped in timed.skipped)
    (profiled,) = profile_bundle(Bundle.open(bundle), weights=recipe.parent, runs=2).networks
    assert profiled.component == "glow"
    assert "glow" in report_page(Bundle.open(bundle))


@pytest.mark.usefixtures("_toy")
def test_settings_that_are_not_the_familys_are_told_before_anything_is_built(recipe: Path) -> None:
    (recipe.parent / "most.json").write_text(json.dumps("much"))
    with pytest.raises(ConfigError, match=r"Settings of the family toy .* are not valid"):
        bundle_stage(load_recipe(recipe), recipe)


def test_without_its_entry_no_recipe_has_the_family(recipe: Path) -> None:
    with pytest.raises(ConfigError, match="family: There is no family `toy` to build; families are pocket, networks"):
        load_recipe(recipe)
