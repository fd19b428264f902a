"""Distils a latent pair's artist or critic: frames, lessons, training and the student's folder."""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Final

from pydantic import Field
from tqdm import tqdm

from pocketcrafter.export.content import content_hash
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.distill.latent.critic import (
    CriticDistillTask,
    CriticLessons,
    Learner,
    build_lessons,
    lessons_config,
)
from pocketcrafter.export.distill.latent.flow import FlowArtist, Guided, artist_settings, levels_of
from pocketcrafter.export.distill.latent.frames import (
    FlowTrajectories,
    build_frames,
    build_trajectories,
    frames_config,
)
from pocketcrafter.export.distill.latent.methods import Lesson, Method, make_task, student_of
from pocketcrafter.export.distill.latent.student import (
    copy_pair,
    lay_out,
    lay_out_critic,
    save_learner,
    save_student,
    whole_learner,
)
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.train.options import TrainOptions, folder_beside, photos_of, tell, train_network
from pocketcrafter.export.train.workers import joined
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError

_STEPS: Final = 400
_BATCH: Final = 8
_RATE: Final = 2e-4
"""What a network that has been trained already takes."""
_CRITIC_STEPS: Final = 1200
_CRITIC_BATCH: Final = 32
_CRITIC_RATE: Final = 1e-3


class PairLesson(Config):
    """What a latent student is taught, and how."""

    teacher: Path
    start: Path
    teacher_steps: int
    student_steps: int
    frames: int
    method: Method = Method.TRAJECTORY
    guidance: float = 1.0
    truth: float = 0.5
    out: Path | None = Field(None, description="Where the student is written.")


def distil_pair(options: TrainOptions, lesson: PairLesson) -> None:
    """Distil a latent pair's artist, and write the student's folder.

    Parameters
    ----------
    options
        The command line's.
    lesson
        What is taught.

    Raises
    ------
    ConfigError
        If nothing says where to, or the pair cannot be distilled.
    """
    if lesson.out is None:
        raise ConfigError("--out: name the folder that the student is written to.")
    out = folder_beside(lesson.out, lesson.teacher, lesson.start)
    settings = options.fit_settings(_STEPS, _BATCH).model_copy(update={"learning_rate": _RATE, "ema": 0.99})
    device, teacher = options.torch_device(), read_pair(lesson.teacher)
    photos = photos_of(options, Split.TRAIN)
    config = frames_config(teacher, photos, lesson.frames, options.seed)
    begun = content_hash(read_pair(lesson.start).files)
    said = f"{config.model_dump_json()}{begun}{lesson.model_dump_json(exclude={'teacher', 'start', 'out'})}"
    identity = sha256(said.encode()).hexdigest()[:12]
    folder = options.run / f"distill-latent-{lesson.method}-{lesson.student_steps}-{identity}"
    laid_out = folder / "pair"
    lay_out(
        read_pair(lesson.start), teacher, laid_out, lesson.student_steps, fresh=lesson.method is not Method.TRAJECTORY
    )
    pair = read_pair(laid_out)
    levels = levels_of(artist_settings(pair), laid_out)
    fine = levels.divided(lesson.teacher_steps)
    seen = sha256(config.model_dump_json().encode()).hexdigest()[:12]
    with tqdm(total=lesson.frames, desc="frames", unit="frame") as bar:
        frames = build_frames(options.run / f"latent-frames-{seen}", teacher, photos, options.data, config, bar.update)
    network = FlowArtist(teacher, artist_settings(teacher)).to(device).eval()
    guided = Guided(network.requires_grad_(requires_grad=False), lesson.guidance)

    def trajectories() -> FlowTrajectories:
        said = sha256(f"{seen}{asdict(fine)}{lesson.guidance}".encode()).hexdigest()[:12]
        with tqdm(total=len(frames), desc="trajectories", unit="frame") as bar:
            return build_trajectories(
                options.run / f"latent-trajectories-{said}", guided, fine, frames, config, device, bar.update
            )

    task = make_task(
        lesson.method,
        lambda: FlowArtist(pair, artist_settings(pair)),
        Lesson(guided, levels, fine, frames, lesson.truth, settings, device),
        trajectories,
    )
    model, losses = train_network(f"{lesson.method} in {lesson.student_steps}", task, settings, folder)
    save_student(pair, student_of(model))
    copy_pair(laid_out, out)
    tell(out, settings.steps, losses, as_json=options.as_json)


class CriticLesson(Config):
    """What a latent pair's critic is taught by, and where it goes."""

    teacher: Path
    start: Path
    checkpointing: bool = Field(description="Whether activations are computed again in place of being kept.")
    sharded: bool = Field(description="Whether each process keeps a part of the weights alone.")
    out: Path


def distil_pairs_critic(options: TrainOptions, lesson: CriticLesson) -> None:
    """Distil a latent pair's critic, and write the student's folder; any number of processes do it together.

    Parameters
    ----------
    options
        The command line's.
    lesson
        What is taught.

    Raises
    ------
    ConfigError
        If teacher and student are not pairs with one artist, or the student's class cannot learn.
    """
    out = folder_beside(lesson.out, lesson.teacher, lesson.start)
    settings = options.fit_settings(_CRITIC_STEPS, _CRITIC_BATCH).model_copy(update={"learning_rate": _CRITIC_RATE})
    device = options.torch_device()
    workers = joined(device, sharded=lesson.sharded)
    teacher, start, photos = read_pair(lesson.teacher), read_pair(lesson.start), photos_of(options, Split.TRAIN)
    config = lessons_config(teacher, start, photos, options.frames, options.seed)
    identity = sha256(config.model_dump_json().encode()).hexdigest()[:12]
    folder, kept = options.run / f"distill-latent-critic-{identity}", options.run / f"critic-lessons-{identity}"
    laid_out = folder / "pair"
    if workers.rank == 0:
        lay_out_critic(start, teacher, laid_out)
        with tqdm(total=options.frames, desc="lessons", unit="frame") as bar:
            build_lessons(kept, teacher, start, photos, options.data, config, bar.update)
    workers.wait()
    pair, lessons = read_pair(laid_out), CriticLessons.open(kept)
    learner = Learner(pair, checkpointing=lesson.checkpointing)
    task = CriticDistillTask(learner, lessons, settings, device, workers)
    _, losses = train_network("critic", task, settings, folder, workers)
    whole = whole_learner(learner, pair, workers)
    if whole is not None:
        save_learner(pair, whole)
        copy_pair(laid_out, out)
        tell(out, settings.steps, losses, as_json=options.as_json)
    workers.wait()
