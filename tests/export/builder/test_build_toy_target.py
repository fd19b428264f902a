"""A target is a row, a profile and a lowering: with these alone a recipe becomes a bundle that runs and verifies."""

import importlib
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch")

from pocketcrafter.export.builder.graph import bundle_stage  # noqa: E402
from pocketcrafter.export.builder.stage import Stage  # noqa: E402
from pocketcrafter.export.lower.lowerings import LOWERINGS  # noqa: E402
from pocketcrafter.export.lower.measure import as_tensors, hold_back, measured, run_artifact, run_torch  # noqa: E402
from pocketcrafter.export.lower.onnx.lowering import export_onnx  # noqa: E402
from pocketcrafter.export.lower.profile import Profile, because  # noqa: E402
from pocketcrafter.export.lower.profiles import PROFILES  # noqa: E402
from pocketcrafter.export.lower.programs import frozen  # noqa: E402
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest  # noqa: E402
from pocketcrafter.export.recipe import load_recipe  # noqa: E402
from pocketcrafter.export.shipped import DEFAULT_RECIPE  # noqa: E402
from pocketcrafter.runtime.backends.names import BackendName  # noqa: E402
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from pocketcrafter.runtime.bundle.reader import Bundle  # noqa: E402
from pocketcrafter.runtime.bundle.results import Coverage, Precision  # noqa: E402
from pocketcrafter.runtime.bundle.verify import verify  # noqa: E402
from pocketcrafter.runtime.capabilities import diagnose  # noqa: E402
from pocketcrafter.runtime.errors import ConfigError  # noqa: E402
from pocketcrafter.runtime.files import replacing  # noqa: E402
from pocketcrafter.runtime.pocket import Pocket  # noqa: E402
from pocketcrafter.runtime.targets import TARGETS, Target, TargetKind  # noqa: E402

_ROW = Target(
    kind=TargetKind("toy:one"),
    suffix=".onnx",
    backend=BackendName.ONNXRUNTIME,
    computes="float32",
    proof="ONNX Runtime on the CPU",
    min_os="Toy OS 1",
)


def _profile(_: Target) -> Profile:
    others = [precision for precision in Precision if precision is not Precision.FP32]
    return Profile((Precision.FP32,), because((others, "toys do not quantize")), ("onnx",))


def _lower(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    target, out = request.only
    used, held = hold_back(request.calibration, request.spec)
    eager = frozen(request.module(), request.keep_fp32)
    with replacing(out) as made:
        export_onnx(eager, as_tensors(used[0], request.spec), request.spec, made)
        actual = run_artifact(OnnxRuntimeBackend(), made, held, request.spec)
    coverage = Coverage(macs_total=1, macs_delegated=1, delegated_ops=1, subgraphs=1)
    reference = run_torch(eager, held, request.spec)
    return {target: measured(out, coverage, request.spec, held, reference, None, actual, "The toy in ONNX Runtime")}


@pytest.fixture
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, _ROW.kind, _ROW)
    monkeypatch.setitem(PROFILES, _ROW.kind.family, _profile)
    monkeypatch.setitem(LOWERINGS, _ROW.kind.family, _lower)


def _recipe(path: Path, precision: dict[str, str]) -> Path:
    default = yaml.safe_load(DEFAULT_RECIPE.read_text())
    composition = {**default["components"]["composition"], "samples": 2, "precision": precision}
    path.write_text(yaml.safe_dump({**default, "targets": ["toy:one"], "components": {"composition": composition}}))
    return path


def _run(stage: Stage, root: Path, done: dict[str, Path]) -> Path:
    """Run a stage and those that it needs, in this process: a child would not know the toy."""
    if stage.name not in done:
        inputs = {n: _run(i, root, done) if isinstance(i, Stage) else i for n, i in stage.inputs.items()}
        done[stage.name] = out = root / str(len(done))
        out.mkdir()
        module, _, function = stage.run.partition(":")
        getattr(importlib.import_module(module), function)(inputs, stage.settings, out, lambda *_: None)
    return done[stage.name]


@pytest.mark.usefixtures("_toy")
def test_a_row_a_profile_and_a_lowering_make_a_bundle_that_runs_and_verifies(tmp_path: Path) -> None:
    path = _recipe(tmp_path / "toy.yaml", {"toy:*": "fp32"})
    bundle = _run(bundle_stage(load_recipe(path), path), tmp_path, {}) / "bundle"
    (only,) = Bundle.open(bundle).manifest.targets.values()
    assert (only.kind, only.backend, only.minimum_os) == (_ROW.kind, _ROW.backend, _ROW.min_os)
    artifact = Bundle.open(bundle).manifest.entry(Pocket.COMPOSITION).artifacts["toy:one"]
    assert artifact.path == "targets/toy-one/composition.onnx"
    assert artifact.rungs[2].how.startswith("The toy in ONNX Runtime against eager torch")
    assert verify(bundle, 1).ok
    assert "toy:one" in {target.name for target in diagnose().targets}


@pytest.mark.usefixtures("_toy")
def test_what_the_profile_refuses_is_told_where_the_recipe_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"toy:one has no int8: toys do not quantize. The nearest is fp32"):
        load_recipe(_recipe(tmp_path / "toy.yaml", {"toy:one": "int8"}))


def test_without_its_row_nothing_knows_the_target(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no target `toy:one`"):
        load_recipe(_recipe(tmp_path / "toy.yaml", {"toy:one": "fp32"}))
