"""From weights to a sealed, verified bundle, with the real steps and a really trained-shape network."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from pocketcrafter.export.builder.cli import build_command  # noqa: E402
from pocketcrafter.export.builder.settings import (  # noqa: E402
    BundleSettings,
    ComponentFacts,
    ExamplesSettings,
    LicenseFacts,
    LoweringRecord,
    ProveSettings,
)
from pocketcrafter.export.builder.steps import assemble, examples, prove  # noqa: E402
from pocketcrafter.export.builder.store import install  # noqa: E402
from pocketcrafter.export.calibration import Sample, samples  # noqa: E402
from pocketcrafter.export.families.registry import FAMILIES  # noqa: E402
from pocketcrafter.export.models import MODELS, load_component, save_component  # noqa: E402
from pocketcrafter.export.recipe import (  # noqa: E402
    DEFAULT_RECIPE,
    Gates,
)
from pocketcrafter.export.shipped import CALIBRATION_PHOTOS  # noqa: E402
from pocketcrafter.runtime.attribute_gate import GateSettings  # noqa: E402
from pocketcrafter.runtime.bundle.goldens import read_tensors  # noqa: E402
from pocketcrafter.runtime.bundle.manifest import TrainingData  # noqa: E402
from pocketcrafter.runtime.bundle.reader import Bundle  # noqa: E402
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision  # noqa: E402
from pocketcrafter.runtime.bundle.verify import verify  # noqa: E402
from pocketcrafter.runtime.errors import ConfigError, GateError  # noqa: E402
from pocketcrafter.runtime.families import POCKET  # noqa: E402
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket  # noqa: E402
from pocketcrafter.runtime.targets import ONNX  # noqa: E402

RESTORE = Pocket.RESTORE
SEED = 3
PROVE = ProveSettings(
    component=RESTORE,
    target=ONNX,
    precision=Precision.FP32,
    gates=Gates().of(),
    pictures=("restored",),
    goldens=1,
    not_run=FAMILIES[POCKET].not_run,
)


def no_progress(_done: int, _total: int) -> None:
    return


def folder(root: Path, name: str) -> Path:
    (root / name).mkdir()
    return root / name


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights, examples and an ONNX file of the restoration network, made by the real steps."""
    root = tmp_path_factory.mktemp("parts")
    torch.manual_seed(1)
    network = MODELS[RESTORE]()
    torch.nn.init.normal_(network.get_parameter("tail.weight"), std=0.1)  # untrained, it would change nothing
    save_component(network, root / "restore.safetensors")
    photos = folder(root, "photos")
    photo = sorted(CALIBRATION_PHOTOS.glob("*.jpg"))[0]
    (photos / photo.name).write_bytes(photo.read_bytes())
    made = {"weights": root / "restore.safetensors", "photos": photos, "examples": folder(root, "examples")}
    settings = ExamplesSettings(component=RESTORE, networks=FAMILIES[POCKET].networks, samples=1, seed=SEED, goldens=1)
    examples.run({"photos": photos, "weights": made["weights"]}, settings, made["examples"], no_progress)
    made["lowered"] = folder(root, "lowered")
    (made["lowered"] / "onnx").mkdir()
    spec = POCKET_SPECS[RESTORE]
    torch.onnx.export(
        load_component(RESTORE, made["weights"]),
        tuple(torch.zeros(t.shape) for t in spec.inputs),
        made["lowered"] / "onnx/restore.onnx",
        input_names=[t.name for t in spec.inputs],
        output_names=[t.name for t in spec.outputs],
        dynamo=False,
    )
    record = LoweringRecord(
        artifact="restore.onnx",
        coverage=Coverage(macs_total=1, macs_delegated=1, delegated_ops=1, subgraphs=1),
        rung1=(),
        rung1_how="",
        rung2_how="on the CPU",
        rung2=(Fidelity(output="restored", sqnr_db=None, cosine=1, max_abs_error=0),),
    )
    (made["lowered"] / "onnx/lowering.json").write_text(record.model_dump_json())
    return made


def assembled(parts: dict[str, Path], out: Path) -> Path:
    out.mkdir()
    proof = folder(out, "proof")
    prove.run({"lowered": parts["lowered"], "examples": parts["examples"]}, PROVE, proof, no_progress)
    gate, text = out / "gate.json", out / "license"
    gate.write_text(GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.1).model_dump_json())
    text.write_text("licence text")
    settings = BundleSettings(
        name="small",
        family="pocket",
        settings=("gate",),
        targets=(ONNX,),
        components={RESTORE: ComponentFacts(weights="restore.safetensors", sha256="0" * 64, license="Apache-2.0")},
        goldens=1,
        licenses=tuple(LicenseFacts(input="text", spdx="Apache-2.0", covers=what) for what in ("code", "weights")),
        training_data=TrainingData(summary="none"),
        tools=("numpy", "torch"),
    )
    inputs = {
        "settings.gate": gate,
        "text": text,
        "restore.examples": parts["examples"],
        "restore.onnx.lowered": parts["lowered"],
        "restore.onnx.proof": proof,
    }
    assemble.run(inputs, settings, out, no_progress)
    return out / "bundle"


def test_the_steps_make_a_bundle_that_verifies_and_runs(parts: dict[str, Path], tmp_path: Path) -> None:
    path = assembled(parts, tmp_path / "a")
    report = verify(path, threads=2)
    assert report.ok, report
    manifest = Bundle.open(path).manifest
    assert {entry.path for entry in manifest.licenses} == {"LICENSES/Apache-2.0.txt", "LICENSES/Apache-2.0.2.txt"}
    assert "not run" in (path / "reports/parity.md").read_text()
    calibrated = json.loads((path / "reports/calibration.json").read_text())["restore"]
    photo = sorted(CALIBRATION_PHOTOS.glob("*.jpg"))[0]
    assert calibrated["photos"] == {photo.name: hashlib.sha256(photo.read_bytes()).hexdigest()}
    assert calibrated["sha256"] == hashlib.sha256((parts["examples"] / "calibration.npz").read_bytes()).hexdigest()


def test_the_same_parts_give_the_same_bytes(parts: dict[str, Path], tmp_path: Path) -> None:
    bundles = [assembled(parts, tmp_path / name) for name in ("a", "b")]
    files = [{p.relative_to(b): p.read_bytes() for p in b.rglob("*") if p.is_file()} for b in bundles]
    assert files[0] == files[1]


def test_the_golden_is_the_sample_that_is_changed_most(parts: dict[str, Path]) -> None:
    spec, network = POCKET_SPECS[RESTORE], load_component(RESTORE, parts["weights"])
    drawn = samples(RESTORE, sorted(parts["photos"].iterdir()), parts["weights"].parent, 8, SEED + 1_000_003)

    def change(sample: Sample) -> float:
        with torch.no_grad():
            made = network(*(torch.from_numpy(sample[tensor.name]) for tensor in spec.inputs)).numpy()
        return float(np.square(made - sample["tile"]).mean())

    golden, most = read_tensors(parts["examples"] / "inputs_0.npz", spec.inputs), max(drawn, key=change)
    assert all(np.allclose(golden[name], most[name], atol=2e-3) for name in most)


def test_an_artifact_of_other_weights_fails_its_goldens(parts: dict[str, Path], tmp_path: Path) -> None:
    torch.manual_seed(2)
    save_component(MODELS[RESTORE](), tmp_path / "other.safetensors")
    other = load_component(RESTORE, tmp_path / "other.safetensors")
    lowered = folder(tmp_path, "lowered")
    (lowered / "onnx").mkdir()
    (lowered / "onnx/lowering.json").write_bytes((parts["lowered"] / "onnx/lowering.json").read_bytes())
    tile = POCKET_SPECS[RESTORE].inputs[0].shape

    class Inverted(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, tile: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
            return 1 - other(tile, amounts)

    torch.onnx.export(
        Inverted(),
        (torch.zeros(tile), torch.zeros(1, 3)),
        lowered / "onnx/restore.onnx",
        input_names=["tile", "amounts"],
        output_names=["restored"],
        dynamo=False,
    )
    with pytest.raises(GateError, match="goldens: SQNR of `restored`"):
        prove.run({"lowered": lowered, "examples": parts["examples"]}, PROVE, tmp_path, no_progress)


def test_installing_is_idempotent_mends_damage_and_spares_what_is_no_bundle(
    parts: dict[str, Path], tmp_path: Path
) -> None:
    made, out = assembled(parts, tmp_path / "a"), tmp_path / "build" / "default.pcbundle"
    assert install(made, out)
    assert not install(made, out)
    (out / "reports/parity.md").write_text("changed")
    assert install(made, out)
    Bundle.open(out).check_integrity()
    assert sorted(p.name for p in out.parent.iterdir()) == ["default.pcbundle"]
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "one.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="not a bundle"):
        install(made, precious)
    assert (precious / "one.jpg").exists()


def own_recipe(tmp_path: Path) -> Path:
    """The shipped recipe with weights and cards of its own, so that it does not hang on what is trained.

    It has neither decoder nor judge, whose weights must have been trained with the critic's.
    """
    path = tmp_path / "recipe.yaml"
    recipe = yaml.safe_load(DEFAULT_RECIPE.read_text())
    del recipe["components"]["decoder"], recipe["components"]["judge"]
    # Modules that a recipe names are looked for in the weights.
    del recipe["components"]["critic"]["keep_fp32"]
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    (tmp_path / "weights").mkdir()
    for name in ("critic", "tone", "restore"):
        train_again(tmp_path, name, seed=0)
        (tmp_path / "weights" / f"{name}.md").write_text("card")
    gate = GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.1)
    (tmp_path / "weights" / "gate.json").write_text(gate.model_dump_json())
    return path


def train_again(tmp_path: Path, name: str, seed: int) -> None:
    torch.manual_seed(seed)
    save_component(MODELS[Pocket(name)](), tmp_path / "weights" / f"{name}.safetensors")


def test_a_dry_run_lists_every_stage_with_its_cost_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = own_recipe(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(build_command, ["--recipe", str(recipe), "--dry-run", "--json"])
    assert done.exit_code == 0, done.exception
    plan = json.loads(done.stdout)
    assert [row["stage"] for row in plan][-1] == "bundle"
    components = len(Pocket) - 2
    assert len(plan) == components + 2 * components * 2 + 1
    assert all(row["state"] == "needed" and row["seconds"] > 0 and row["ram_mib"] > 0 for row in plan)
    assert sorted(tmp_path.rglob("*")) == before


def test_naming_a_target_builds_only_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--recipe", str(own_recipe(tmp_path)), "--target", "onnx", "--dry-run"]
    shown = CliRunner().invoke(build_command, options).stdout
    assert "lower critic for onnx" in shown
    assert "executorch" not in shown


def test_the_key_of_a_stage_follows_only_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = own_recipe(tmp_path)

    def keys() -> dict[str, str]:
        done = CliRunner().invoke(build_command, ["--recipe", str(recipe), "--dry-run", "--json"])
        return {row["stage"]: row["key"] for row in json.loads(done.stdout)}

    def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
        return {name for name in before if before[name] != after[name]}

    first = keys()
    train_again(tmp_path, "restore", seed=1)
    second = keys()
    assert changed(first, second) == {name for name in first if "restore" in name} | {"bundle"}
    recipe.write_text(recipe.read_text().replace("coverage: 0.95", "coverage: 0.96"))
    third = keys()
    assert changed(second, third) == {name for name in first if name.startswith("verify")} | {"bundle"}
    train_again(tmp_path, "critic", seed=1)
    assert "examples of tone" in changed(third, keys())
