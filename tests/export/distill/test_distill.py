"""Students learn what their teachers do, in fewer steps and with fewer parameters."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pocketcrafter.export.distill.artist import DistillArtistTask
from pocketcrafter.export.distill.critic import DistillCriticTask
from pocketcrafter.export.models.critic import CriticConfig, Ensemble, Judge, Judgement
from pocketcrafter.export.models.restore import Restore, RestoreConfig
from pocketcrafter.export.train.critic import CriticTask, standardize
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.export.train.restore import Patches
from pocketcrafter.export.train.tone import judge_store
from pocketcrafter.runtime.errors import ConfigError

CPU = torch.device("cpu")
SMALL = RestoreConfig(steps=4, widths=(8, 16), blocks=(1, 1))


def lively(config: RestoreConfig, seed: int) -> Restore:
    """A network that does something, as an untrained one is the identity."""
    torch.manual_seed(seed)
    network = Restore(config)
    torch.nn.init.normal_(network.tail.weight, std=0.02)
    return network


@pytest.fixture
def patches(photos: list[Path], camera_data: Path) -> Patches:
    return Patches(photos[:1], camera_data)


@pytest.fixture
def taught(store: EvidenceStore) -> Judgement:
    """What an ensemble says of the stored frames."""
    torch.manual_seed(3)
    teacher = Ensemble(CriticConfig(hidden=32, judges=2))
    for judge in teacher.judges:
        standardize(judge, store)
    return judge_store(teacher, store)


def test_a_student_critic_learns_its_teachers_hidden_states(
    store: EvidenceStore, taught: Judgement, tmp_path: Path
) -> None:
    settings = FitSettings(steps=40, batch=8, learning_rate=3e-3, warmup=5, seed=2)
    task = DistillCriticTask(CriticTask(Judge(), store, settings, CPU), taught)
    before = task.loss(0)[1]
    fit(task, settings, tmp_path)
    assert task.loss(0)[1]["teacher_hidden"] < 0.7 * before["teacher_hidden"]


def test_a_student_critic_leans_to_its_teachers_plan(store: EvidenceStore, taught: Judgement, tmp_path: Path) -> None:
    settings = FitSettings(steps=40, batch=8, learning_rate=3e-3, warmup=5, seed=2)
    said = []
    for lean in (-0.5, 0.5):
        torch.manual_seed(0)
        truth = CriticTask(Judge(), store, settings, CPU)
        task = DistillCriticTask(truth, taught._replace(plan=taught.plan + lean * truth.foreseeable))
        fit(task, settings, tmp_path / str(lean))
        said.append(float(judge_store(task.model.judge, store).plan.sum(1).mean()))
    assert said[1] > said[0] + 1


@pytest.mark.parametrize("steps", [1, 2])
def test_a_student_artist_comes_to_go_where_its_teacher_goes(patches: Patches, tmp_path: Path, steps: int) -> None:
    settings = FitSettings(steps=25, batch=2, learning_rate=3e-3, warmup=3, seed=1)
    teacher = lively(SMALL, seed=1)
    student = lively(SMALL.model_copy(update={"steps": steps}), seed=2)
    task = DistillArtistTask(teacher, student, patches, settings, CPU)
    tile, _, amounts = patches.draw(2, np.random.default_rng(9))
    with torch.inference_mode():
        before = (student(tile, amounts) - teacher(tile, amounts)).abs().mean()
    fit(task, settings, tmp_path)
    with torch.inference_mode():
        after = (task.model(tile, amounts) - teacher(tile, amounts)).abs().mean()
    assert after < 0.7 * before


def test_a_perfect_student_costs_nothing_on_the_teachers_side(patches: Patches) -> None:
    settings = FitSettings(steps=1, batch=2, learning_rate=1e-3)
    teacher = lively(SMALL, seed=1)
    task = DistillArtistTask(teacher, teacher.in_steps(4), patches, settings, CPU)
    assert max(task.loss(step)[1]["teacher"] for step in range(4)) < 1e-5


def test_steps_that_do_not_divide_are_refused(patches: Patches) -> None:
    settings = FitSettings(steps=1, batch=2, learning_rate=1e-3)
    with pytest.raises(ConfigError, match="cannot teach 3"):
        DistillArtistTask(lively(SMALL, 1), lively(SMALL, 2).in_steps(3), patches, settings, CPU)
