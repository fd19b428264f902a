"""A latent artist's many steps in a few: the levels that phones run, the lessons, and the pair that comes out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from pocketcrafter.export.distill.cli import distill
from pocketcrafter.export.distill.latent.flow import FlowArtist, Guided, Levels, along, levels_of, started
from pocketcrafter.export.distill.latent.frames import (
    FlowTrajectories,
    PairFrames,
    build_frames,
    build_trajectories,
    frames_config,
)
from pocketcrafter.export.distill.latent.methods import Lesson, Method, make_task, student_of
from pocketcrafter.export.distill.latent.student import lay_out, save_student
from pocketcrafter.export.families.latent.networks import TorchPair, settings_of
from pocketcrafter.export.families.latent.pair import Pair, read_pair
from pocketcrafter.export.families.latent.parts import load_part
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.latent.settings import ArtistSettings, Latent

CPU = torch.device("cpu")
FRAMES = 16


def settings(pair: Pair) -> ArtistSettings:
    made = settings_of(pair, None).artist
    assert made is not None
    return made


@pytest.fixture(scope="module")
def teacher(latent_twin: Path) -> Pair:
    return read_pair(latent_twin)


@pytest.fixture(scope="module")
def frames(
    teacher: Pair, photos: list[Path], camera_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> PairFrames:
    config = frames_config(teacher, photos, FRAMES, 3)
    return build_frames(tmp_path_factory.mktemp("frames"), teacher, photos, camera_data, config)


@pytest.fixture(scope="module")
def guided(teacher: Pair) -> Guided:
    return Guided(FlowArtist(teacher, settings(teacher)).eval().requires_grad_(requires_grad=False))


def student_pair(teacher: Pair, folder: Path, steps: int, *, fresh: bool = False) -> Pair:
    lay_out(teacher, teacher, folder, steps, fresh=fresh)
    return read_pair(folder)


def off(pair: Pair) -> FlowArtist:
    """A student whose velocity, and with it whose picture, is wrong by a constant."""
    made = FlowArtist(pair, settings(pair))
    with torch.no_grad():
        made.denoise.network.unet.conv_out.bias -= 1.0
    return made


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_students_steps_are_even_in_what_the_scheduler_makes_of_them(
    teacher: Pair, tmp_path: Path, steps: int, fresh: bool
) -> None:
    levels = levels_of(settings(student_pair(teacher, tmp_path / "pair", steps, fresh=fresh)), tmp_path)
    assert (len(levels), levels.fresh) == (steps, fresh and steps > 1)
    assert levels.levels[0] == pytest.approx(1)
    assert levels.levels[-1] == 0
    # The twin's shift is 3: half of the way in time is three quarters of the noise. diffusers' stretching is exact at
    # the ends alone.
    assert levels.levels[steps // 2] == pytest.approx(0.75 if steps > 1 else 1, abs=0.06)


def test_a_batch_is_what_the_phone_computes_row_by_row(teacher: Pair, frames: PairFrames, guided: Guided) -> None:
    """The artist of a bundle, in full precision, on one frame; and the same frame within a batch."""
    pair = TorchPair(teacher)
    assert pair.artist is not None
    rows = np.arange(4)
    shown = frames.shown(rows, CPU)
    noise = torch.randn(4, *guided.network.shape, generator=torch.Generator().manual_seed(2))
    level = torch.tensor([1.0, 0.9, 0.6, 0.2])
    made = guided.velocity(noise, level, shown)
    for row in rows:
        hidden = frames.hidden[row, : frames.counts[row]].astype(np.float32)
        given = {"picture": frames.photos[row : row + 1].astype(np.float32), **pair.artist.conditions(hidden)}
        angles = np.float32(level[row] * 1000) * np.array(guided.network.settings.time.frequencies, np.float32)
        waves = [np.cos(angles), np.sin(angles)]
        order = waves if guided.network.settings.time.cosines_first else waves[::-1]
        given |= {"latents": noise[row : row + 1].numpy(), "time": np.concatenate(order)[None].astype(np.float32)}
        expected = pair.artist.denoise.run(given)["prediction"][0]
        assert np.abs(made[row].numpy() - expected).max() < 1e-4 * np.abs(expected).max()


def test_guidance_goes_on_beyond_the_conditions(frames: PairFrames, guided: Guided) -> None:
    rows = np.arange(2)
    shown, level = frames.shown(rows, CPU), torch.ones(2)
    noise = torch.randn(2, *guided.network.shape, generator=torch.Generator().manual_seed(2))
    plain, strong = (Guided(guided.network, scale).velocity(noise, level, shown) for scale in (1.0, 3.0))
    none = Guided(guided.network, 0.0).velocity(noise, level, shown)
    assert torch.allclose(strong - none, 3 * (plain - none), atol=1e-5)
    assert (plain - none).abs().max() > 1e-4


def test_a_teacher_takes_a_multiple_of_the_students_steps() -> None:
    levels = Levels((1.0, 0.5, 0.0), fresh=True)
    assert levels.divided(4) == Levels((1.0, 0.75, 0.5, 0.25, 0.0), fresh=False)
    with pytest.raises(ConfigError, match="multiple"):
        levels.divided(3)


def test_interrupted_trajectories_go_on_and_come_out_alike(
    teacher: Pair, photos: list[Path], frames: PairFrames, guided: Guided, tmp_path: Path
) -> None:
    config, levels = frames_config(teacher, photos, FRAMES, 3), Levels((1.0, 0.5, 0.0), fresh=False)

    def stop(made: int) -> None:
        if made:
            raise KeyboardInterrupt

    def build(name: str, on_progress: Callable[[int], None] = lambda _: None) -> FlowTrajectories:
        return build_trajectories(tmp_path / name, guided, levels, frames, config, CPU, on_progress)

    with pytest.raises(KeyboardInterrupt):
        build("stopped", stop)
    told: list[int] = []
    again, whole = build("stopped", told.append), build("whole")
    assert told == [8, 8]
    assert np.array_equal(again.states, whole.states)
    with pytest.raises(ConfigError, match="another configuration"):
        build_trajectories(tmp_path / "whole", guided, levels.divided(4), frames, config, CPU)


@pytest.mark.parametrize(("method", "steps"), [(Method.TRAJECTORY, 1), (Method.TRAJECTORY, 2), (Method.LCM, 1)])
def test_a_student_comes_to_lead_where_its_lesson_leads(
    teacher: Pair, photos: list[Path], frames: PairFrames, guided: Guided, tmp_path: Path, method: Method, steps: int
) -> None:
    pair = student_pair(teacher, tmp_path / "pair", steps, fresh=method is not Method.TRAJECTORY)
    levels = levels_of(settings(pair), tmp_path)
    fine, config = levels.divided(4), frames_config(teacher, photos, FRAMES, 3)
    how = FitSettings(steps=30, batch=8, learning_rate=3e-3, warmup=3, ema=0.9)
    task = make_task(
        method,
        lambda: off(pair),
        Lesson(guided, levels, fine, frames, 0.0, how, CPU),
        lambda: build_trajectories(tmp_path / "states", guided, fine, frames, config, CPU),
    )
    measured = {Method.TRAJECTORY: "teacher", Method.LCM: "consistency"}[method]

    def lost() -> float:
        return float(np.mean([task.loss(step)[1][measured] for step in range(100, 108)]))

    before = lost()
    fit(task, how, tmp_path / "run")
    assert lost() < 0.3 * before


def test_a_teacher_loses_next_to_nothing_on_its_own_trajectories(
    teacher: Pair, photos: list[Path], frames: PairFrames, guided: Guided, tmp_path: Path
) -> None:
    levels, config = Levels((1.0, 0.75, 0.5, 0.25, 0.0), fresh=False), frames_config(teacher, photos, FRAMES, 3)
    states = build_trajectories(tmp_path / "states", guided, levels, frames, config, CPU)
    how = FitSettings(steps=1, batch=8, learning_rate=1e-3)
    own = FlowArtist(teacher, settings(teacher))
    task = make_task(
        Method.TRAJECTORY, lambda: own, Lesson(guided, levels, levels, frames, 0.5, how, CPU), lambda: states
    )
    # States are stored in half precision, and a step's velocity is four times the way between two.
    assert max(task.loss(step)[1]["teacher"] for step in range(6)) < 1e-4 < task.loss(0)[1]["truth"]


def test_matched_distributions_move_the_student_towards_the_teacher(
    frames: PairFrames, guided: Guided, teacher: Pair, tmp_path: Path
) -> None:
    """A student whose pictures are off by a constant loses most of it."""
    pair = student_pair(teacher, tmp_path / "pair", 1, fresh=True)
    levels = levels_of(settings(pair), tmp_path)
    how = FitSettings(steps=36, batch=8, learning_rate=3e-3, warmup=3, ema=0.9)
    rows = np.arange(FRAMES)
    shown = frames.shown(rows, CPU)
    noise = torch.randn(FRAMES, *guided.network.shape, generator=torch.Generator().manual_seed(5))
    start = started(noise, shown.picture, settings(pair))

    def mean(network: FlowArtist) -> float:
        with torch.no_grad():
            return float(network.picture(start, torch.ones(FRAMES), shown).mean())

    target = float(along(guided, start, levels.divided(4).levels, shown)[-1].mean())

    task = make_task(
        Method.DMD2,
        lambda: off(pair),
        Lesson(guided, levels, levels.divided(4), frames, 0.0, how, CPU),
        lambda: pytest.fail("unread"),
    )
    before = abs(mean(student_of(task.model)) - target)
    student = student_of(fit(task, how, tmp_path / "run"))
    assert before > 0.8
    assert abs(mean(student) - target) < 0.6 * before


def test_a_trained_student_is_read_back_as_it_was(teacher: Pair, tmp_path: Path) -> None:
    pair = student_pair(teacher, tmp_path / "pair", 2)
    student = FlowArtist(pair, settings(pair))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.01)
    save_student(pair, student)
    again = read_pair(tmp_path / "pair")
    for name, module in ((Latent.DENOISE, student.denoise), (Latent.BRIDGE, student.bridge)):
        assert module is not None
        stored = load_part(again, name).network.state_dict()
        assert all(torch.equal(value, stored[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("method", ["trajectory", "lcm", "dmd2"])
def test_the_command_writes_a_pair_that_runs(
    prepared_photos: Path, latent_twin: Path, tmp_path: Path, method: str
) -> None:
    out = tmp_path / "student"
    arguments = [
        "artist", "--teacher", str(latent_twin), "--data", str(prepared_photos), "--run", str(tmp_path / "run"),
        "--out", str(out), "--method", method, "--student-steps", "2", "--teacher-steps", "4", "--trajectories", "8",
        "--steps", "2", "--device", "cpu", "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(distill, arguments)
    assert result.exit_code == 0, result.exception
    said = json.loads(result.stdout)
    assert (said["weights"], said["steps"]) == (str(out), 2)
    assert yaml.safe_load((out / "pair.yaml").read_text())["steps"] == 2
    again = CliRunner().invoke(distill, arguments)
    assert json.loads(again.stdout)["last_loss"] == {}, "the finished training must not be repeated"
    pair = TorchPair(read_pair(out))
    assert pair.artist is not None
    assert len(pair.artist.settings.steps) == 2
    assert any(step.noise for step in pair.artist.settings.steps) == (method != "trajectory")


def test_what_cannot_be_distilled_is_said(latent_twin: Path, prepared_photos: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        result = CliRunner().invoke(distill, ["artist", *map(str, arguments), "--data", str(prepared_photos)])
        assert isinstance(result.exception, ConfigError)
        return str(result.exception)

    assert "--out" in refused("--teacher", latent_twin)
    assert "is what training begins with, or learns of" in refused("--teacher", latent_twin, "--out", latent_twin)
    assert "--method is for latent pairs" in refused("--teacher", latent_twin / "pair.yaml", "--method", "lcm")
    assert "cannot teach 3" in refused("--teacher", latent_twin, "--out", tmp_path / "x", "--student-steps", 3)
