"""Students of Qwen's classes read, think and are written as transformers' own models are."""

import importlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pocketcrafter.export.distill.latent.critic import (
    CriticDistillTask,
    CriticLessons,
    Learner,
    build_lessons,
    lessons_config,
)
from pocketcrafter.export.distill.latent.grpo import sampled_answers
from pocketcrafter.export.distill.latent.student import save_learner
from pocketcrafter.export.families.latent.networks import TorchPair
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.latent.picture import critics_picture
from pocketcrafter.runtime.photo import Photo

sys.path.insert(0, str(Path(__file__).parents[2] / "families/latent"))
qwen = importlib.import_module("qwen_twin")
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=qwen.KINDS)
def folder(request: pytest.FixtureRequest, latent_twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The twin's artist and bridge with a critic of another class."""
    made = Path(shutil.copytree(latent_twin, tmp_path_factory.mktemp("qwen") / "pair"))
    shutil.rmtree(made / "critic")
    return Path(qwen.save_pair(made, request.param))


def test_a_student_reads_and_thinks_what_the_bundle_does_and_is_written_as_it_was(folder: Path, tmp_path: Path) -> None:
    pair = read_pair(folder)
    opened, learner = TorchPair(pair), Learner(pair).eval()
    assert opened.critic is not None
    assert opened.settings.critic is not None
    pixels = np.random.default_rng(1).integers(0, 256, (90, 140, 3), np.uint8)
    seen = critics_picture(Photo(pixels), opened.settings.critic.picture)
    answer = opened.critic.answer(seen)
    pictures, ids = torch.from_numpy(seen).repeat(2, 1, 1, 1), torch.tensor([answer.ids] * 2)
    with torch.no_grad():
        hidden, logits = learner.read(pictures, ids)
    assert sqnr_db(answer.hidden, hidden[1, :-1].numpy()) > 60
    assert tuple(logits[1].argmax(1).tolist()) == answer.ids
    written = sampled_answers(learner, pictures, opened.settings.critic)
    assert written.shape[0] == 2
    assert not (written == opened.settings.critic.picture_token).any()
    with torch.no_grad():
        for parameter in learner.critic.parameters():
            parameter.add_(0.01)
    again = read_pair(shutil.copytree(folder, tmp_path / "again"))
    save_learner(again, learner)
    stored = Learner(again).critic.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in learner.critic.state_dict().items())


def test_a_student_learns_from_its_lessons(folder: Path, photos: list[Path], camera_data: Path, tmp_path: Path) -> None:
    pair = read_pair(folder)
    config = lessons_config(pair, pair, photos, 2, 3)
    lessons: CriticLessons = build_lessons(tmp_path / "lessons", pair, pair, photos, camera_data, config)
    learner, how = (
        Learner(pair, checkpointing=True),
        FitSettings(steps=12, batch=2, learning_rate=1e-3, warmup=2, ema=0.5),
    )
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.1 * parameter.std() * torch.randn_like(parameter))
    task = CriticDistillTask(learner, lessons, how, CPU)
    before = task.loss(0)[1]
    fit(task, how, tmp_path / "run")
    after = task.loss(0)[1]
    assert after["words"] < before["words"]
    assert after["conditions"] < before["conditions"]
