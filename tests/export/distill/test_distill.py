"""Students learn what their teachers do, in fewer steps and with fewer parameters."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pocketcrafter.export.distill.artist import GROUP, DistillArtistTask, Trajectories, build_trajectories
from pocketcrafter.export.distill.cli import distill
from pocketcrafter.export.distill.critic import DistillCriticTask
from pocketcrafter.export.models.critic import CriticConfig, Ensemble, Judge, Judgement
from pocketcrafter.export.models.restore import Restore, RestoreConfig
from pocketcrafter.export.train.critic import CriticTask, judge_store, standardize
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.export.train.restore import Patches
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


def test_a_student_can_keep_the_plan_tokens_it_had(store: EvidenceStore, taught: Judgement, tmp_path: Path) -> None:
    """Tone and decoder were trained to read them."""
    settings = FitSettings(steps=40, batch=8, learning_rate=3e-3, warmup=5, seed=2)
    moved = []
    for keep in (False, True):
        torch.manual_seed(0)
        judge = Judge()
        standardize(judge, store)
        had = judge_store(judge, store).tokens
        task = DistillCriticTask(CriticTask(judge, store, settings, CPU, kept=had if keep else None), taught)
        fit(task, settings, tmp_path / str(keep))
        moved.append(float((judge_store(task.model.judge, store).tokens - had).square().mean() / had.var()))
    assert moved[1] < 0.2 * moved[0]


def test_tokens_are_kept_of_a_critic_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "teacher.safetensors").touch()
    arguments = ["critic", "--teacher", str(tmp_path / "teacher.safetensors"), "--keep-tokens"]
    result = CliRunner().invoke(distill, arguments)
    assert isinstance(result.exception, ConfigError)
    assert "--start" in str(result.exception)


@pytest.fixture
def teacher() -> Restore:
    return lively(SMALL, seed=1)


@pytest.fixture
def trajectories(teacher: Restore, patches: Patches, tmp_path: Path) -> Trajectories:
    return build_trajectories(tmp_path / "trajectories", teacher, patches, groups=1, seed=4, device=CPU)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_student_artist_comes_to_go_where_its_teacher_goes(
    teacher: Restore, trajectories: Trajectories, patches: Patches, tmp_path: Path, steps: int
) -> None:
    settings = FitSettings(steps=25, batch=2, learning_rate=3e-3, warmup=3, seed=1)
    student = lively(SMALL.model_copy(update={"steps": steps}), seed=2)
    task = DistillArtistTask(student, trajectories, settings, CPU)
    tile, _, amounts = patches.draw(2, np.random.default_rng(9))
    with torch.inference_mode():
        before = (student(tile, amounts) - teacher(tile, amounts)).abs().mean()
    fit(task, settings, tmp_path)
    with torch.inference_mode():
        after = (task.model(tile, amounts) - teacher(tile, amounts)).abs().mean()
    assert after < 0.7 * before


def test_a_perfect_student_costs_next_to_nothing_on_the_teachers_side(
    teacher: Restore, trajectories: Trajectories
) -> None:
    settings = FitSettings(steps=1, batch=2, learning_rate=1e-3)
    task = DistillArtistTask(teacher.in_steps(4), trajectories, settings, CPU)
    # States are stored in half precision, and a step's velocity is four times the way between two.
    assert max(task.loss(step)[1]["teacher"] for step in range(4)) < 3e-3 < task.loss(0)[1]["truth"]


def test_steps_that_do_not_divide_are_refused(trajectories: Trajectories) -> None:
    settings = FitSettings(steps=1, batch=2, learning_rate=1e-3)
    with pytest.raises(ConfigError, match="cannot teach 3"):
        DistillArtistTask(lively(SMALL, 2).in_steps(3), trajectories, settings, CPU)


def test_trajectories_lead_from_the_patch_to_where_the_teacher_ends(
    teacher: Restore, trajectories: Trajectories
) -> None:
    tile, end = (torch.from_numpy(trajectories.states[:, place].astype(np.float32)) for place in (0, -1))
    with torch.inference_mode():
        restored = teacher(tile, torch.from_numpy(np.array(trajectories.amounts)))
    assert (restored - end).abs().max() < 2e-3 < (restored - tile).abs().max()


def test_interrupted_trajectories_go_on_and_come_out_alike(teacher: Restore, patches: Patches, tmp_path: Path) -> None:
    def stop(made: int) -> None:
        if made:
            raise KeyboardInterrupt

    def build(folder: str, on_progress: Callable[[int], None] = lambda _: None) -> Trajectories:
        return build_trajectories(tmp_path / folder, teacher, patches, 2, 4, CPU, on_progress)

    with pytest.raises(KeyboardInterrupt):
        build("cut", stop)
    counts: list[int] = []
    resumed, whole = build("cut", counts.append), build("whole")
    assert counts == [GROUP, GROUP]
    assert np.array_equal(resumed.states, whole.states)
    assert np.array_equal(resumed.targets, whole.targets)


def test_trajectories_of_another_teacher_are_refused(
    trajectories: Trajectories, patches: Patches, tmp_path: Path
) -> None:
    del trajectories
    with pytest.raises(ConfigError, match="another configuration"):
        build_trajectories(tmp_path / "trajectories", lively(SMALL, seed=5), patches, groups=1, seed=4, device=CPU)
