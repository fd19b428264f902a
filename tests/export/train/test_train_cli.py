"""``train`` on the command line: weights come out, mistakes are explained."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from torch import Tensor

from pocketcrafter.export.data.manifest import MANIFEST_NAME, Split
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.models import load_component, restore_network, save_component
from pocketcrafter.export.models.critic import Critic
from pocketcrafter.export.models.plan_judge import PlanJudge
from pocketcrafter.export.models.restore import STUDIO, Restore
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.export.train.cli import train
from pocketcrafter.export.train.folds import FOLDS
from pocketcrafter.export.train.plan_proposals import SHIPPED
from pocketcrafter.runtime.attribute_gate import GateSettings, read_gate
from pocketcrafter.runtime.errors import ConfigError, PocketCrafterError
from pocketcrafter.runtime.plan import RESTORATION, Attribute
from pocketcrafter.runtime.pocket import Pocket


@pytest.fixture
def data(prepared_photos: Path, tmp_path: Path) -> Path:
    """A copy, as tests change it."""
    return Path(shutil.copytree(prepared_photos, tmp_path / "data"))


def run(*arguments: object) -> Result:
    threads = torch.get_num_threads()
    result = CliRunner().invoke(train, [str(a) for a in arguments])
    torch.set_num_threads(threads)
    return result


def test_a_network_is_trained_written_and_then_resumed(data: Path, tmp_path: Path) -> None:
    places = ("--data", data, "--run", tmp_path / "run", "--weights", tmp_path / "weights")
    arguments = ("restore", *places, "--steps", 1, "--threads", 1, "--device", "cpu", "--json")
    result = run(*arguments)
    assert result.exit_code == 0, result.exception
    said = json.loads(result.stdout)
    assert said["weights"] == str(tmp_path / "weights" / "restore.safetensors")
    assert said["steps"] == 1
    assert said["last_loss"]["loss"] > 0
    load_component(Pocket.RESTORE, Path(said["weights"]))
    again = run(*arguments)
    assert json.loads(again.stdout)["last_loss"] == {}, "the finished training must not be repeated"
    with pytest.raises(ConfigError, match="other settings"):
        raise run(*arguments, "--seed", 2).exception or AssertionError("accepted")


def test_the_studios_network_starts_from_a_smaller_one_and_lies_beside_the_runs(data: Path, tmp_path: Path) -> None:
    start = tmp_path / "pocket.safetensors"
    save_component(Restore(), start)
    places = ("--data", data, "--run", tmp_path / "run", "--weights", tmp_path / "weights", "--start", start)
    result = run("restore", "--studio", *places, "--steps", 1, "--threads", 1, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.exception
    said = json.loads(result.stdout)
    assert said["weights"] == str(tmp_path / "run" / "studio-restore.safetensors")
    assert restore_network(Path(said["weights"])).config == STUDIO
    assert not (tmp_path / "weights").exists()


@pytest.fixture
def trained(backbone: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """Options of folders with a critic, and with the backbone's weights, which would be fetched otherwise."""
    monkeypatch.setattr("pocketcrafter.export.train.estimates.ESTIMATOR_STEPS", 2)
    monkeypatch.setattr("pocketcrafter.export.train.estimator._MEASURED_FRAMES", 8)
    monkeypatch.setattr("pocketcrafter.export.train.estimator._FRAMES", 4)
    (tmp_path / "run").mkdir()
    save_component(Critic(), tmp_path / "weights" / "critic.safetensors")
    save_file(backbone, tmp_path / "run" / "mobilenet_v2_imagenet_folded.safetensors")
    return ("--run", tmp_path / "run", "--weights", tmp_path / "weights", "--frames", 64, "--device", "cpu")


@pytest.fixture
def split_data(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with one photo for validation; siblings of a critic are trained shortly."""
    monkeypatch.setattr("pocketcrafter.export.train.options._VALIDATION_FRAMES", 64)
    monkeypatch.setattr("pocketcrafter.export.train.judge_inputs.CRITIC_STEPS", 4)
    manifest = json.loads((data / MANIFEST_NAME).read_text())
    held = manifest["records"][-1]
    held["split"], train_file = Split.VALIDATION, data / held["file"]
    held["file"] = f"validation/{train_file.name}"
    (data / "validation").mkdir()
    train_file.rename(data / held["file"])
    (data / MANIFEST_NAME).write_text(json.dumps(manifest))
    return data


def test_restoration_alone_is_tuned_and_the_rest_of_the_gate_stays(
    split_data: Path, trained: tuple[object, ...], tmp_path: Path
) -> None:
    path = tmp_path / "weights" / "gate.json"
    shipped = read_gate(WEIGHTS / "gate.json")
    path.write_text(shipped.model_dump_json())
    result = run("gate", "--restoration", "--data", split_data, *trained, "--threads", 1, "--json")
    assert result.exit_code == 0, result.exception
    said, tuned = json.loads(result.stdout), read_gate(path)
    assert said == {f"{a.value}_presence": tuned.attributes[a].presence for a in RESTORATION}
    assert tuned.judge == shipped.judge
    kept = [a for a in Attribute if a not in RESTORATION]
    assert [tuned.attributes[a] for a in kept] == [shipped.attributes[a] for a in kept]
    assert tuned.attributes != shipped.attributes, "an untrained critic is not to be trusted as the shipped one is"


def test_a_judge_learns_from_the_critics_siblings_and_its_bar_goes_into_the_gate(
    split_data: Path, trained: tuple[object, ...], tmp_path: Path
) -> None:
    gate = tmp_path / "weights" / "gate.json"
    gate.write_text(GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.1).model_dump_json())
    arguments = ("judge", "--data", split_data, *trained, "--steps", 1, "--threads", 1, "--json")
    result = run(*arguments)
    assert result.exit_code == 0, result.exception
    load_component(Pocket.JUDGE, weights := tmp_path / "weights" / "judge.safetensors")
    judged = read_gate(gate).judge
    assert judged is not None
    assert judged.proposals == SHIPPED
    assert judged.bar == json.loads(result.stdout)["last_loss"]["bar"]
    (siblings,) = (tmp_path / "run").glob("siblings-*")
    assert len(list(siblings.glob("fold-*/*.safetensors"))) == FOLDS
    bold = PlanJudge()
    torch.nn.init.constant_(bold.median.bias, 5)
    save_component(bold, start := tmp_path / "start.safetensors")
    assert run(*arguments, "--start", start).exit_code == 0
    assert load_component(Pocket.JUDGE, weights).get_parameter("median.bias").item() < 1, "it was finished before"
    (checkpoint,) = (tmp_path / "run").glob("judge-*")
    shutil.rmtree(checkpoint)
    run(*arguments, "--start", start)
    assert load_component(Pocket.JUDGE, weights).get_parameter("median.bias").item() == pytest.approx(5, abs=0.1)


def test_an_estimator_is_trained_first_and_its_critic_has_it_inside(
    data: Path, trained: tuple[object, ...], tmp_path: Path
) -> None:
    arguments = ("--data", data, *trained, "--steps", 1, "--threads", 1, "--json")
    missing = run("critic", *arguments)
    assert isinstance(missing.exception, ConfigError)
    assert "pocketcrafter train estimator" in str(missing.exception)
    assert not (tmp_path / "run" / "evidence").exists(), "hours of frames come after what is missing is told"
    result = run("estimator", *arguments)
    assert result.exit_code == 0, result.exception
    estimator = load_file(json.loads(result.stdout)["weights"])
    assert run("critic", *arguments).exit_code == 0
    critic = load_file(tmp_path / "weights" / "critic.safetensors")
    for name, tensor in estimator.items():
        assert torch.equal(critic[f"evidence.estimator.{name}"], tensor), name


@pytest.mark.parametrize("command", ["tone", "gate", "judge"])
def test_a_missing_critic_is_named_before_any_frame_is_made(command: str, data: Path, tmp_path: Path) -> None:
    places = ("--data", data, "--run", tmp_path / "run", "--weights", tmp_path / "weights")
    result = run(command, *places, "--device", "cpu")
    assert isinstance(result.exception, ConfigError)
    assert "critic.safetensors" in str(result.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(data: Path, tmp_path: Path) -> None:
    result = run("restore", "--data", data, "--run", tmp_path, "--weights", tmp_path, "--device", "cuda")
    assert isinstance(result.exception, ConfigError)
    assert "--device cpu" in str(result.exception)


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    result = run("restore", "--data", tmp_path, "--run", tmp_path, "--weights", tmp_path)
    assert isinstance(result.exception, PocketCrafterError)
    assert str(tmp_path) in str(result.exception)


def test_a_latent_pair_is_trained_part_by_part(data: Path, trained: tuple[object, ...], tmp_path: Path) -> None:
    arguments = ("--data", data, *trained, "--threads", 1, "--json")
    with pytest.raises(ConfigError, match="latent-vae, latent-critic, latent-artist"):
        raise run("latent-artist", *arguments).exception or AssertionError("accepted")
    for part in ("latent-vae", "latent-critic", "latent-artist"):
        result = run(part, *arguments, "--steps", 1)
        assert result.exit_code == 0, result.exception
    assert json.loads(run("latent-artist", *arguments, "--steps", 1).stdout)["last_loss"] == {}
    pair = read_pair(tmp_path / "weights" / "latent-studio")
    assert set(pair.roles) == {"vision", "language", "bridge", "encode", "denoise", "decode"}
    assert sum(path.stat().st_size for path in pair.files.files) < 25e6


@pytest.mark.parametrize(
    "command",
    [
        *("critic", "tone", "restore", "decoder", "gate", "judge"),
        *("latent-vae", "latent-critic", "latent-artist"),
    ],
)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"pocketcrafter train {command}" in " ".join(result.stdout.split())
