"""A vision-language critic learns from a teacher's pair: words, conditions, edits; alone and in several processes."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

from pocketcrafter.export.distill.cli import distill
from pocketcrafter.export.distill.latent.critic import (
    CriticDistillTask,
    CriticLessons,
    Learner,
    build_lessons,
    lessons_config,
    word_weights,
)
from pocketcrafter.export.distill.latent.student import whole_learner
from pocketcrafter.export.families.latent.networks import TorchPair
from pocketcrafter.export.families.latent.pair import Pair, read_pair
from pocketcrafter.export.teachers.told import told_by
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.export.train.latent.texts import critique_text
from pocketcrafter.export.train.workers import Workers, joined
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.latent.picture import critics_picture
from pocketcrafter.runtime.photo import Photo
from pocketcrafter.runtime.plan import Attribute

CPU = torch.device("cpu")
FRAMES = 8
HOW = FitSettings(steps=12, batch=4, learning_rate=2e-3, warmup=2, ema=0.5)
STOPPED = 9
PLAN = np.where([a is Attribute.EXPOSURE for a in Attribute], 0.5, 0).astype(np.float32)
CRITIQUE = critique_text(PLAN, 0.4)


@pytest.fixture(scope="module")
def teacher(latent_twin: Path) -> Pair:
    return read_pair(latent_twin)


@pytest.fixture(scope="module")
def student(latent_twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The same pair with another critic."""
    folder = Path(shutil.copytree(latent_twin, tmp_path_factory.mktemp("student") / "pair"))
    weights = load_file(folder / "critic/model.safetensors")
    torch.manual_seed(1)
    moved = {name: value + 0.1 * value.std() * torch.randn_like(value) for name, value in weights.items()}
    save_file(moved, folder / "critic/model.safetensors", {"format": "pt"})
    return read_pair(folder)


@pytest.fixture(scope="module")
def lessons_folder(
    teacher: Pair, student: Pair, photos: list[Path], camera_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("lessons")
    config = lessons_config(teacher, student, photos, FRAMES, 3)
    build_lessons(folder, teacher, student, photos, camera_data, config)
    return folder


def test_thoughts_weigh_less_than_edit_and_answer() -> None:
    ids = [*CRITIQUE.encode()]
    weights = word_weights(ids, lambda some: bytes(some).decode())
    end = CRITIQUE.index("</think>")
    assert set(weights[:end]) == {0.3}
    assert set(weights[end:]) == {1.0}


def test_edits_and_score_are_told_where_the_text_says_them() -> None:
    told = told_by(CRITIQUE)
    assert told[-1] == pytest.approx(0.4)
    assert np.abs(told[:-1] - PLAN).max() < 0.1
    assert np.isnan(told_by("no critique")).all()


def test_the_learner_reads_and_thinks_what_the_bundle_does(teacher: Pair, lessons_folder: Path) -> None:
    """The teacher taught by itself: its words are the likeliest ones, and its conditions those of the lessons."""
    lessons, learner = CriticLessons.open(lessons_folder), Learner(teacher).eval()
    ids = torch.from_numpy(lessons.ids.astype(np.int64))
    with torch.no_grad():
        logits, conditions, _ = learner(torch.from_numpy(lessons.pictures.astype(np.float32)), ids)
    real = torch.from_numpy(lessons.weights > 0)
    assert (logits.argmax(2)[real] == ids[real]).float().mean() > 0.95
    count = int(lessons.counts[0])
    right = torch.from_numpy(lessons.conditions[0, :count].astype(np.float32))
    assert (conditions[0, :count] - right).abs().mean() < 0.02 * right.abs().mean()


def test_a_student_comes_to_speak_and_think_like_its_teacher(
    student: Pair, lessons_folder: Path, tmp_path: Path
) -> None:
    how = HOW.model_copy(update={"steps": 40, "ema": 0.9})
    task = CriticDistillTask(Learner(student, checkpointing=True), CriticLessons.open(lessons_folder), how, CPU)
    before = task.loss(0)[1]
    fit(task, how, tmp_path)
    after = task.loss(0)[1]
    assert after["words"] < 0.7 * before["words"]
    assert after["conditions"] < 0.7 * before["conditions"]


def test_bfloat16_mixes_with_words_in_float32(student: Pair, lessons_folder: Path) -> None:
    lessons = CriticLessons.open(lessons_folder)
    with torch.autocast("cpu", torch.bfloat16):
        logits, _, _ = Learner(student)(
            torch.from_numpy(lessons.pictures[:2].astype(np.float32)),
            torch.from_numpy(lessons.ids[:2].astype(np.int64)),
        )
    assert torch.isfinite(logits).all()


class InBfloat16(Learner):
    """Computes layers as on CUDA."""

    def forward(self, pictures: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(pictures, answers)


WAYS: Final[Mapping[str, tuple[bool, type[Learner]]]] = {
    "whole": (False, Learner),
    "sharded": (True, Learner),
    "sharded, bfloat16": (True, InBfloat16),
}
"""Whether each process keeps a part of the weights alone (FSDP, activations computed again), and the student."""
Weights = Mapping[str, torch.Tensor]


def _train(
    rank: int, port: int, pair: Path, lessons: Path, runs: Path
) -> tuple[dict[str, list[float]], dict[str, Weights]]:
    """One of two processes; returns the loss of each step until both are interrupted, and weights of the first one.

    The weights are of trainings that one process began and these two end.
    """
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    # What runs tests side by side may ignore Ctrl-C in them.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    losses: dict[str, list[float]] = {way: [] for way in WAYS}
    ended: dict[str, Weights] = {}
    for way, (sharded, kind) in WAYS.items():
        torch.manual_seed(0)
        workers = joined(CPU, sharded=sharded)
        learner = kind(read_pair(pair), checkpointing=sharded)
        task = CriticDistillTask(learner, CriticLessons.open(lessons), HOW, CPU, workers)
        if sharded:
            own, all_of_it = (sum(p.numel() for p in ps) for ps in (_local(learner), learner.parameters()))
            assert own < 0.6 * all_of_it

        with suppress(KeyboardInterrupt):
            fit(task, HOW, runs / way, partial(_told, losses[way], workers), workers=workers)
        steps: list[int] = []
        fit(task, HOW, runs / f"{way}, of one", lambda step, _, steps=steps: steps.append(step), workers=workers)
        assert steps == [10, 11, 12]
        whole = whole_learner(learner, read_pair(pair), workers)
        assert (whole is None) == (rank > 0)
        if whole is not None:
            ended[way] = whole.state_dict()
            assert not any(isinstance(value, DTensor) for value in ended[way].values())
    torch.distributed.destroy_process_group()
    signal.signal(signal.SIGINT, before)
    return losses, ended


def _told(losses: list[float], workers: Workers, step: int, parts: Mapping[str, float]) -> None:
    losses.append(sum(parts.values()))
    # Ctrl-C may reach one process first; where weights are sharded, the other one stops with it.
    if step == STOPPED and (workers.rank == 0 or not workers.sharded):
        signal.raise_signal(signal.SIGINT)


def _local(learner: Learner) -> list[torch.Tensor]:
    return [cast("DTensor", parameter).to_local() for parameter in learner.parameters()]


def _train_alone(kind: type[Learner], pair: Pair, lessons: Path, runs: Path) -> tuple[list[float], Weights]:
    """Train in one process; its checkpoint of where two are interrupted is left for each way to go on from."""
    torch.manual_seed(0)
    task = CriticDistillTask(kind(pair), CriticLessons.open(lessons), HOW, CPU)
    losses: list[float] = []

    def told(step: int, parts: Mapping[str, float]) -> None:
        losses.append(sum(parts.values()))
        if step == STOPPED:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(task, HOW, runs / kind.__name__, told)
    for way in [way for way, (_, of_kind) in WAYS.items() if of_kind is kind]:
        shutil.copytree(runs / kind.__name__, runs / f"{way}, of one")
    return losses, fit(task, HOW, runs / kind.__name__).state_dict()


def test_two_processes_equal_one_and_either_goes_on_where_the_other_stopped(
    student: Pair, lessons_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = (port, student.folder, lessons_folder, tmp_path)
    # This process is the first of the two: each further one imports all libraries again.
    other = multiprocessing.get_context("spawn").Process(target=_train, args=(1, *asked))
    other.start()
    alone = {kind: _train_alone(kind, student, lessons_folder, tmp_path) for kind in (Learner, InBfloat16)}
    assert alone[InBfloat16][0] != pytest.approx(alone[Learner][0], rel=1e-5)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    together, ended = _train(0, *asked)
    other.join(300)
    assert other.exitcode == 0
    for way, (_, kind) in WAYS.items():
        losses, whole = alone[kind]
        # Where layers compute in bfloat16, each share's gradients are rounded to 8 bits before they are averaged.
        losses_near, weights_near = (1e-3, 5e-3) if kind is Learner else (3e-2, 1.5e-2)
        assert together[way] == pytest.approx(losses, rel=losses_near)
        steps: list[int] = []
        task = CriticDistillTask(kind(student), CriticLessons.open(lessons_folder), HOW, CPU)
        again = fit(task, HOW, tmp_path / way, lambda step, _, steps=steps: steps.append(step)).state_dict()
        assert steps == [10, 11, 12]
        assert _apart(again, whole) < weights_near
        # From one checkpoint on, three steps are alike in either precision.
        assert _apart(ended[way], whole) < 1e-3


def _apart(one: Weights, other: Weights) -> float:
    return max(float((one[name] - value).abs().max()) for name, value in other.items())


def test_one_process_has_nobody_to_share_weights_with() -> None:
    with pytest.raises(ConfigError, match="start several by torchrun"):
        joined(CPU, sharded=True)


def test_shares_of_a_batch_are_the_batch() -> None:
    rows = np.arange(7)
    shares = [Workers(rank, 3).share(rows) for rank in range(3)]
    assert sorted(np.concatenate(shares)) == [*rows]


def test_the_command_writes_a_pair_that_speaks(
    prepared_photos: Path, teacher: Pair, student: Pair, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [
        "critic", "--teacher", str(teacher.folder), "--start", str(student.folder), "--data", str(prepared_photos),
        "--run", str(tmp_path / "run"), "--out", str(out), "--frames", "64", "--steps", "1",
        "--device", "cpu", "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(distill, arguments)
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout)["weights"] == str(out)
    pair = TorchPair(read_pair(out))
    assert pair.critic is not None
    assert pair.settings.critic is not None
    photo = Photo(np.full((40, 40, 3), 90, np.uint8))
    assert pair.critic.answer(critics_picture(photo, pair.settings.critic.picture)).ids


def test_what_cannot_be_taught_is_said(teacher: Pair, student: Pair, prepared_photos: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        asked = ["critic", *map(str, arguments), "--data", str(prepared_photos), "--run", str(tmp_path)]
        result = CliRunner().invoke(distill, asked)
        assert isinstance(result.exception, ConfigError)
        return str(result.exception)

    assert "--start" in refused("--teacher", teacher.folder)
    folders = ("--teacher", teacher.folder, "--start", student.folder)
    assert "is what training begins with, or learns of" in refused(*folders, "--out", student.folder)
    other = Path(shutil.copytree(student.folder, tmp_path / "other"))
    (other / "artist/scheduler/scheduler_config.json").write_text('{"_class_name": "DDIMScheduler"}')
    assert "its artist is not" in refused("--teacher", teacher.folder, "--start", other, "--out", tmp_path / "x")
    assert "are for latent pairs" in refused("--teacher", teacher.folder / "pair.yaml", "--out", tmp_path / "x")
