"""Each network learns from what its task gives it."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.export.models.critic import Critic, Judge, Judgement
from pocketcrafter.export.models.restore import Restore, RestoreConfig
from pocketcrafter.export.models.tone import Tone
from pocketcrafter.export.train.critic import CriticTask
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, Task, fit, picture_loss
from pocketcrafter.export.train.restore import Patches, RestoreTask
from pocketcrafter.export.train.tone import ToneTask
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket

CPU = torch.device("cpu")


class FirstBatch:
    """A task that learns its first batch by heart."""

    def __init__(self, task: Task) -> None:
        self.task, self.model = task, task.model

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        return self.task.parameter_groups()

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        torch.manual_seed(step)
        return self.task.loss(0)


def losses_by_heart(task: Task, settings: FitSettings, folder: Path) -> list[dict[str, float]]:
    seen: list[dict[str, float]] = []
    fit(FirstBatch(task), settings, folder, lambda _, parts: seen.append(dict(parts)))
    assert len(seen) == settings.steps
    return seen


def test_restoration_learns_a_noisy_patch_by_heart(photos: list[Path], camera_data: Path, tmp_path: Path) -> None:
    """With a smaller network, as the real one takes hundreds of steps to find the noise."""
    patches = Patches(photos[:1], camera_data)
    noise_first = (s for s in itertools.count() if patches.draw(1, np.random.default_rng([s, 0]))[2][0, 0] > 0.5)
    settings = FitSettings(steps=120, batch=1, learning_rate=2e-3, warmup=10, seed=next(noise_first))
    torch.manual_seed(0)
    small = Restore(RestoreConfig(widths=(24, 48), blocks=(1, 1)))
    task = RestoreTask(small, patches, settings, CPU)
    seen = losses_by_heart(task, settings, tmp_path)
    assert seen[-1]["loss"] < 0.85 * seen[0]["loss"]


def test_tone_learns_a_few_frames_by_heart(store: EvidenceStore, judged: Judgement, tmp_path: Path) -> None:
    settings = FitSettings(steps=20, batch=2, learning_rate=1.5e-3, warmup=3, seed=4)
    torch.manual_seed(0)
    seen = losses_by_heart(ToneTask(Tone(), store, judged, settings, CPU), settings, tmp_path)
    assert seen[0]["loss"] == pytest.approx(seen[0]["render"], rel=0.02), "a new network is the render itself"
    assert seen[-1]["loss"] < 0.8 * seen[-1]["render"]


def test_the_critic_learns_a_few_frames_by_heart(store: EvidenceStore, tmp_path: Path) -> None:
    settings = FitSettings(steps=60, batch=4, learning_rate=3e-3, warmup=3, seed=2)
    torch.manual_seed(0)
    seen = losses_by_heart(CriticTask(Judge(), store, settings, CPU), settings, tmp_path)
    assert seen[-1]["plan"] < 0.5 * seen[0]["plan"]
    assert seen[-1]["presence"] < 0.7 * seen[0]["presence"]


def test_the_scene_embedding_is_read_off_the_tokens_and_does_not_shape_them(store: EvidenceStore) -> None:
    torch.manual_seed(0)
    task = CriticTask(Judge(), store, FitSettings(steps=1, batch=4, learning_rate=3e-3), CPU)
    rows = np.array([0, 1, 2, 3])
    task.losses(task.model(task.vectors(rows)), rows)["scene"].backward()  # type: ignore[no-untyped-call]
    assert task.model.scene.weight.grad is not None
    assert task.model.tokens.weight.grad is None


def test_a_critic_is_trained_on_the_rows_it_is_given(store: EvidenceStore) -> None:
    settings = FitSettings(steps=1, batch=3, learning_rate=3e-3)
    rows = np.array([1, 5, 8, 9])
    task = CriticTask(Judge(), store, settings, CPU, rows)
    drawn = {int(row) for step in range(20) for row in task.draw(step)}
    assert drawn == set(rows.tolist())


def test_evidence_is_fixed() -> None:
    """Guards the store: evidence that moved would no longer be what is stored."""
    assert not any(p.requires_grad for p in Critic().evidence.parameters())


@pytest.mark.parametrize("other", [True, False])
def test_a_batch_depends_on_seed_and_step_alone(photos: list[Path], camera_data: Path, other: bool) -> None:
    settings = FitSettings(steps=1, batch=2, learning_rate=1e-3, seed=4)
    task = RestoreTask(Restore(), Patches(photos, camera_data), settings, CPU)
    first = task.loss(7)[1]["loss"]
    assert (task.loss(8 if other else 7)[1]["loss"] == first) is not other


def test_judgements_are_the_contracts_for_every_frame(store: EvidenceStore, judged: Judgement) -> None:
    for tensor, output in zip(judged, POCKET_SPECS[Pocket.CRITIC].outputs, strict=True):
        assert tuple(tensor.shape) == (len(store), *output.shape[1:])
        assert torch.isfinite(tensor).all()


def test_picture_loss_is_zero_for_equals_and_counts_a_lost_edge_more_than_an_offset() -> None:
    ramp = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    assert float(picture_loss(ramp, ramp)) == 0
    assert float(picture_loss(ramp + 0.1, ramp)) == pytest.approx(0.1, rel=1e-4)
    noise = 0.1 * torch.from_numpy(np.resize([1.0, -1.0], (1, 3, 16, 17)).astype(np.float32))[..., :16]
    assert float(picture_loss(ramp + noise, ramp)) > 0.12


def test_missing_noise_profiles_are_named(photos: list[Path], tmp_path: Path) -> None:
    for content in (None, "{}", '{"noiseprofiles": [1]}', "[", '{"noiseprofiles": []}'):
        path = tmp_path / "noiseprofiles.json"
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigError, match=r"noiseprofiles\.json .*data prepare"):
            Patches(photos, tmp_path)
