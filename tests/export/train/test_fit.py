"""The training loop resumes to the same weights, and refuses what it cannot go on from."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.runtime.errors import ConfigError

SETTINGS = FitSettings(steps=23, batch=16, learning_rate=1e-2, warmup=5, ema=0.9, seed=3)


class Waves:
    """Learns a sine from random points; a second layer group learns slower, and one layer is not trained."""

    def __init__(self, settings: FitSettings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        squash = nn.Sequential(nn.Tanh(), nn.Dropout(0.02))
        self.model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), squash, nn.Linear(16, 1))

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        return [(1.0, list(self.model[4].parameters())), (0.3, list(self.model[2].parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        x = torch.rand(self.settings.batch, 1, generator=torch.Generator().manual_seed(step))
        loss = (self.model(x).float() - (6 * x).sin()).square().mean()
        return loss, {"loss": float(loss.detach())}


class Interrupted(Exception):  # noqa: N818 - what happens, not an error
    """Ctrl-C, in effect."""


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("stop_at", [3, 12, 15, 23])
def test_an_interrupted_training_gives_the_weights_of_an_uninterrupted_one(tmp_path: Path, stop_at: int) -> None:
    def interrupt(step: int, _parts: Mapping[str, float]) -> None:
        if step == stop_at:
            raise Interrupted

    whole = weights(fit(Waves(SETTINGS), SETTINGS, tmp_path / "whole", checkpoint_every=5))
    with pytest.raises(Interrupted):
        fit(Waves(SETTINGS), SETTINGS, tmp_path / "parts", interrupt, checkpoint_every=5)
    steps: list[int] = []
    resumed = weights(
        fit(Waves(SETTINGS), SETTINGS, tmp_path / "parts", lambda step, _: steps.append(step), checkpoint_every=5)
    )
    # The interruption comes before the checkpoint of its own step.
    assert steps[0] == (stop_at - 1) // 5 * 5 + 1
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_ctrl_c_loses_no_step(tmp_path: Path) -> None:
    def interrupt(step: int, _parts: Mapping[str, float]) -> None:
        if step == 7:
            raise KeyboardInterrupt

    whole = weights(fit(Waves(SETTINGS), SETTINGS, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        fit(Waves(SETTINGS), SETTINGS, tmp_path / "parts", interrupt)
    steps: list[int] = []
    resumed = weights(fit(Waves(SETTINGS), SETTINGS, tmp_path / "parts", lambda step, _: steps.append(step)))
    assert steps[0] == 8
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first = weights(fit(Waves(SETTINGS), SETTINGS, tmp_path))
    steps: list[int] = []
    second = weights(fit(Waves(SETTINGS), SETTINGS, tmp_path, lambda step, _: steps.append(step)))
    assert not steps
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_only_what_it_is_told_to_and_slower_where_it_is_told_to(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"steps": 60})
    task = Waves(settings)
    before = weights(task.model)
    losses: list[float] = []
    model = fit(task, settings, tmp_path, lambda _, parts: losses.append(parts["loss"]))
    after = weights(model)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert not model.training
    assert torch.equal(before["0.weight"], after["0.weight"])
    moved = {name: float((after[name] - before[name]).abs().mean()) for name in before}
    assert 0 < moved["2.weight"] < moved["4.weight"]


def test_the_result_is_the_average_and_not_the_last_weights(tmp_path: Path) -> None:
    model = fit(Waves(SETTINGS), SETTINGS, tmp_path)
    stored = load_file(tmp_path / "checkpoint.safetensors")
    assert torch.equal(model.state_dict()["4.weight"], stored["average/4.weight"])
    assert not torch.equal(stored["weight/4.weight"], stored["average/4.weight"])


def test_other_settings_are_refused(tmp_path: Path) -> None:
    fit(Waves(SETTINGS), SETTINGS, tmp_path)
    other = SETTINGS.model_copy(update={"learning_rate": 2e-2})
    with pytest.raises(ConfigError, match="other settings"):
        fit(Waves(other), other, tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    fit(Waves(SETTINGS), SETTINGS, tmp_path)
    task = Waves(SETTINGS)
    task.model = nn.Sequential(*task.model, nn.Linear(1, 1))
    task.parameter_groups = lambda: [(1.0, list(task.model[5].parameters()))]  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="another model"):
        fit(task, SETTINGS, tmp_path)


@pytest.mark.parametrize("kept", [0, 40, 400])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, kept: int) -> None:
    fit(Waves(SETTINGS), SETTINGS, tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConfigError, match="not a checkpoint"):
        fit(Waves(SETTINGS), SETTINGS, tmp_path)
