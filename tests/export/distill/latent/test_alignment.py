"""A latent pair learns from rewards: what is rewarded, both networks' updates, and the verdict on held-out frames."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pocketcrafter.export.data.degrade import Frame
from pocketcrafter.export.distill.cli import distill
from pocketcrafter.export.distill.latent.alignment import AlignmentLesson, HeldOut, Verdict, compared
from pocketcrafter.export.distill.latent.critic import Learner
from pocketcrafter.export.distill.latent.direct import DirectAlignment, Wanted
from pocketcrafter.export.distill.latent.flow import artist_settings, levels_of
from pocketcrafter.export.distill.latent.frames import FrameSource
from pocketcrafter.export.distill.latent.grpo import CriticAlignmentTask, sampled_answers, until_stop
from pocketcrafter.export.distill.latent.nft import NftAlignment
from pocketcrafter.export.distill.latent.pair_judge import Asked, PairJudge, shown_of
from pocketcrafter.export.distill.latent.rewards import (
    Judged,
    Reward,
    Shot,
    advantages,
    agreement,
    judge,
    ranked,
    rewards_of,
    total,
)
from pocketcrafter.export.families.latent.pair import Pair, read_pair
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.export.train.latent.texts import critique_text
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.latent.critic import Answer
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.render import render

CPU = torch.device("cpu")
DARK = EditPlan(exposure_ev=1.0)
CRITIQUE = critique_text(DARK.vector(), 0.4)
"""Says that the photo is to be brighter."""


@pytest.fixture(scope="module")
def pair(latent_twin: Path) -> Pair:
    return read_pair(latent_twin)


@pytest.fixture(scope="module")
def source(photos: list[Path], camera_data: Path) -> FrameSource:
    return FrameSource(photos, camera_data, 256)


@pytest.fixture(scope="module")
def two_splits(prepared_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared photos, the last of them for validation."""
    folder = Path(shutil.copytree(prepared_photos, tmp_path_factory.mktemp("splits") / "data"))
    manifest = folder / "manifest.json"
    said = json.loads(manifest.read_text())
    record, name = said["records"][-1], Path(said["records"][-1]["file"]).name
    (folder / "validation").mkdir()
    (folder / record["file"]).rename(folder / "validation" / name)
    record |= {"split": "validation", "file": f"validation/{name}"}
    manifest.write_text(json.dumps(said))
    return folder


def shot(score: float = 0.5) -> Shot:
    """A dark frame, whose clean self is what the critique asks for."""
    rng = np.random.default_rng(3)
    dark = np.asarray(rng.uniform(40, 90, (64, 64, 3)), np.uint8)
    bright = np.asarray(np.rint(render(DARK, dark / np.float32(255)) * 255), np.uint8)
    made = Shot.of(Frame(dark, dark, bright, DARK))
    return Shot(made.photo, made.before, made.clean, score)


def judged(score: float, executed: float = 0.0) -> Judged:
    return Judged(readable=not np.isnan(score), executed=executed, delta_e=10.0, score=score)


def test_a_critique_is_worth_what_it_says_and_what_is_made_of_it() -> None:
    frame = shot()
    asked = frame.clean - frame.before
    done, undone, opposed = (judge(frame, CRITIQUE, factor * asked) for factor in (1.0, 0.0, -0.5))
    assert done.readable
    assert done.score == pytest.approx(0.4)
    assert done.executed > 0.9
    assert 0.3 > undone.executed > opposed.executed
    assert done.delta_e < 1 < undone.delta_e < opposed.delta_e
    garbled = judge(frame, "brighter, please", asked)
    assert (garbled.readable, garbled.executed, garbled.delta_e) == (False, 0.0, done.delta_e)
    rewards = rewards_of([[done, undone, opposed, garbled]], [frame])
    assert [*rewards[Reward.FORMAT][0]] == [1, 1, 1, 0]
    near = rewards[Reward.PHOTOMETRIC][0]
    assert near[0] > 0.9 > near[1] > near[2]


def test_no_change_is_executed_by_making_none() -> None:
    nothing = np.zeros((4, 4, 3), np.float32)
    assert agreement(nothing, nothing) == 1
    assert agreement(nothing + 0.2, nothing) < 0.2


def test_scores_are_worth_the_order_that_they_give() -> None:
    """The second frame is the better one; an answer without a score orders nothing."""
    right, wrong, unsaid = 0.9, 0.1, np.nan
    made = ranked(np.array([[0.5, 0.5, 0.5], [right, wrong, unsaid]]), np.array([0.2, 0.8]))
    assert made[1, 0] > 0.8
    assert 0.6 > made[1, 1] > made[1, 2] == 0


def test_advantages_are_within_groups_and_nothing_where_all_are_alike() -> None:
    rewards = {Reward.FORMAT: np.array([[0.0, 1.0], [1.0, 1.0]]), Reward.EXECUTED: np.array([[0.5, 0.5], [0.9, 0.9]])}
    mixed = total(rewards, {Reward.FORMAT: 3.0, Reward.EXECUTED: 1.0})
    assert mixed[0] == pytest.approx([0.125, 0.875])
    made = advantages(mixed, CPU)
    assert made[:2].tolist() == pytest.approx([-1, 1], abs=0.01)
    assert made[2:].abs().max() < 1e-6


def test_words_behind_the_first_stop_count_nothing() -> None:
    answers = torch.tensor([[5, 2, 7, 2], [5, 6, 7, 8]])
    assert until_stop(answers, [2, 9]).tolist() == [[True, True, False, False], [True] * 4]


class LikesWords(PairJudge):
    """Rewards answers by their share of words below the middle of the vocabulary."""

    def said(self, shot: Shot, answer: Answer) -> Judged:
        del shot
        return judged(0.5, float(np.mean(np.array(answer.ids) < 128)))


def test_a_critic_comes_to_write_what_is_rewarded(pair: Pair, source: FrameSource, tmp_path: Path) -> None:
    how = FitSettings(steps=12, batch=2, learning_rate=3e-3, warmup=2, ema=0.5)
    scorer, learner = LikesWords(pair), Learner(pair)
    pictures = torch.from_numpy(scorer.seen(shot())).repeat(64, 1, 1, 1)

    def liked() -> float:
        torch.manual_seed(0)
        return float((sampled_answers(learner, pictures, scorer.settings) < 128).float().mean())

    before = liked()
    rewards: list[float] = []
    task = CriticAlignmentTask(learner, scorer, source, {Reward.EXECUTED: 1.0}, how, CPU)
    fit(task, how, tmp_path, lambda _, parts: rewards.append(parts["executed"]))
    assert liked() > before + 0.1
    assert rewards[-1] > rewards[0]


class LikesDark(PairJudge):
    """Rewards latents by how low their mean is."""

    def painted(self, asked: Asked, latents: FloatArray) -> list[Judged]:
        del asked
        return [judged(0.5, -float(row.mean())) for row in latents]


def test_an_artist_comes_to_make_what_is_rewarded(pair: Pair, source: FrameSource, tmp_path: Path) -> None:
    how = FitSettings(steps=12, batch=1, learning_rate=3e-3, warmup=2, ema=0.5)
    levels = levels_of(artist_settings(pair), "here")
    task = NftAlignment(pair, LikesDark(pair), levels, source, {Reward.EXECUTED: 1.0}, how, CPU)
    rewards: list[float] = []
    fit(task, how, tmp_path, lambda _, parts: rewards.append(parts["executed"]))
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.05


@pytest.mark.parametrize("readable", [True, False])
def test_gradients_are_of_the_rewards_that_decide(pair: Pair, source: FrameSource, readable: bool) -> None:
    """What an artist climbs is what held-out pictures are judged by, but for the formula of the color difference."""
    how = FitSettings(steps=1, batch=2, learning_rate=1e-3)
    judge_of, generator = PairJudge(pair), torch.Generator().manual_seed(1)
    shots = [Shot.of(source.draw(np.random.default_rng(seed))) for seed in (1, 2)]
    asked = [replace(judge_of.asked(one), text=CRITIQUE if readable else "brighter, please") for one in shots]
    shown, wanted = shown_of(asked, CPU), Wanted.of(asked, CPU)
    made = shown.picture + 0.3 * torch.randn(shown.picture.shape, generator=generator)
    levels = levels_of(artist_settings(pair), "here")
    names = [Reward.EXECUTED, Reward.PHOTOMETRIC]
    task = DirectAlignment(pair, judge_of, levels, source, dict.fromkeys(names, 1.0), how, CPU)
    made.requires_grad_()
    climbed = task.rewards(made, shown, wanted)
    judged_by = rewards_of([judge_of.painted(one, row[None].detach().numpy())
                            for one, row in zip(asked, made, strict=True)], shots)  # fmt: skip
    assert climbed[Reward.EXECUTED].tolist() == pytest.approx(judged_by[Reward.EXECUTED][:, 0], abs=0.01)
    assert climbed[Reward.PHOTOMETRIC].tolist() == pytest.approx(judged_by[Reward.PHOTOMETRIC][:, 0], abs=0.12)
    sum(climbed[name].sum() for name in names).backward()
    assert torch.isfinite(made.grad).all()
    assert made.grad.abs().max() > 0


def test_an_artist_climbs_its_pictures_rewards(pair: Pair, source: FrameSource, tmp_path: Path) -> None:
    how = FitSettings(steps=12, batch=2, learning_rate=3e-3, warmup=2, ema=0.5)
    levels = levels_of(artist_settings(pair), "here")
    task = DirectAlignment(pair, PairJudge(pair), levels, source, {Reward.PHOTOMETRIC: 1.0}, how, CPU)

    def photometric() -> float:
        torch.manual_seed(0)
        with torch.no_grad():
            return task.loss(0)[1]["photometric"]

    before = photometric()
    fit(task, how, tmp_path)
    assert photometric() > before + 0.02


@pytest.mark.parametrize(
    ("reward", "delta_e", "verdict"),
    [
        (0.1, -0.2, Verdict.GAINED),
        (0.1, 0.0, Verdict.HACKED),
        (0.1, 0.3, Verdict.HACKED),
        (0.0, -0.2, Verdict.NO_GAIN),
        # Within two standard errors: chance.
        (0.1, -0.04, Verdict.HACKED),
        (0.04, -0.2, Verdict.NO_GAIN),
    ],
)
def test_more_reward_without_surely_better_pictures_is_hacking(
    tmp_path: Path, reward: float, delta_e: float, verdict: Verdict
) -> None:
    lesson = AlignmentLesson(
        network="critic",
        update="grpo",
        start=tmp_path,
        out=tmp_path / "out",
        rewards={Reward.FORMAT: 1.0},
        held_out=16,
    )
    # Differences whose mean has a standard error of 0.026.
    spread = np.tile([-0.1, 0.1], 8)
    before = HeldOut({Reward.FORMAT: np.full(16, 0.5)}, np.full(16, 9.0))
    after = HeldOut({Reward.FORMAT: 0.5 + reward + spread}, 9.0 + delta_e + spread)
    report = compared(lesson, 1, before, after)
    assert report.verdict is verdict
    assert (report.written is not None) == (verdict is Verdict.GAINED)
    assert report.reward.mean == pytest.approx(reward)
    assert report.reward.error == pytest.approx(0.0258, abs=1e-4)


@pytest.mark.parametrize("network", ["critic", "artist"])
def test_the_command_says_what_came_of_it(two_splits: Path, latent_twin: Path, tmp_path: Path, network: str) -> None:
    """A random pair, whose verdict is one or the other: a folder is written where it gained, and only there."""
    out = tmp_path / "aligned"
    arguments = [
        "align", network, "--start", str(latent_twin), "--out", str(out), "--data", str(two_splits),
        "--run", str(tmp_path / "run"), "--steps", "1", "--held-out", "8", "--device", "cpu", "--json",
        "--reward", "photometric", "1",
    ]  # fmt: skip
    result = CliRunner().invoke(distill, arguments)
    assert isinstance(result.exception, (SystemExit, type(None))), result.exception
    said = json.loads(result.stdout)
    gained = said["verdict"] == "gained"
    assert (result.exit_code, out.is_dir()) == (0 if gained else 1, gained)
    assert said["frames"] == 8
    assert said["supervised"]["delta_e"] != said["aligned"]["delta_e"]


def test_what_cannot_be_aligned_is_said(prepared_photos: Path, latent_twin: Path, tmp_path: Path) -> None:
    def refused(out: Path, *more: str) -> str:
        asked = ["align", "critic", "--start", str(latent_twin), "--out", str(out), "--data", str(prepared_photos)]
        result = CliRunner().invoke(distill, [*asked, "--run", str(tmp_path), *more])
        assert isinstance(result.exception, ConfigError)
        return str(result.exception)

    assert "is what training begins with" in refused(latent_twin)
    assert "no photos of the split" in refused(tmp_path / "out")
    assert "the critic takes grpo" in refused(tmp_path / "out", "--update", "nft")
