"""Aligns a latent pair's critic or artist by rewards, and says on held-out frames whether the pictures gained by it.

More reward while pictures are no nearer to the clean frames is reward hacking: then nothing is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from tqdm import tqdm

from pocketcrafter.export.content import content_hash
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.distill.latent.aligned_artist import AlignedArtist
from pocketcrafter.export.distill.latent.critic import Learner
from pocketcrafter.export.distill.latent.direct import DirectAlignment
from pocketcrafter.export.distill.latent.flow import artist_settings, levels_of
from pocketcrafter.export.distill.latent.frames import FrameSource
from pocketcrafter.export.distill.latent.grpo import CriticAlignmentTask
from pocketcrafter.export.distill.latent.nft import NftAlignment
from pocketcrafter.export.distill.latent.pair_judge import PairJudge
from pocketcrafter.export.distill.latent.rewards import Reward, Shot, rewards_of, total
from pocketcrafter.export.distill.latent.student import copy_pair, lay_out_again, save_learner, save_student
from pocketcrafter.export.families.latent.pair import Pair, read_pair
from pocketcrafter.export.names import UPDATES
from pocketcrafter.export.train.evidence import FRAME_PX
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.options import TrainOptions, folder_beside, photos_of, train_network
from pocketcrafter.runtime.config import Config

_CRITIC, _ARTIST = UPDATES
_STEPS: Final = 120
_BATCH: Final = 8
"""Frames a step; of each a group is made."""
_RATE: Final = 5e-5
_CHECKPOINT_EVERY: Final = 10
"""Steps; each takes many seconds."""
_HELD_OUT_SEED: Final = 20_251_129
"""The same held-out frames whatever a training was told, so that their figures can be compared."""
_SURE: Final = 2.0
"""Standard errors that a difference has to exceed; by chance one does so in forty measurements."""


class Verdict(StrEnum):
    """What came of an alignment."""

    GAINED = "gained"
    HACKED = "hacked"
    NO_GAIN = "no gain"


class Measured(Config):
    """A pair on held-out frames."""

    rewards: dict[Reward, float] = Field(description="Means by name, each in [0, 1].")
    reward: float = Field(description="Weighted mean.")
    delta_e: float = Field(ge=0, description="Mean CIEDE2000 to the clean frames.")


class Difference(Config):
    """Aligned less supervised, frame by frame."""

    mean: float
    error: float = Field(ge=0, description="Standard error of the mean.")


class AlignmentReport(Config):
    """What an alignment gained over the supervised pair."""

    network: str
    pair: str
    steps: int
    frames: int
    weights: dict[Reward, float]
    supervised: Measured
    aligned: Measured
    reward: Difference
    delta_e: Difference
    verdict: Verdict
    written: str | None = Field(description="Folder of the aligned pair; null where it did not gain.")


class AlignmentLesson(Config):
    """What is aligned, by which rewards, and how it is judged."""

    network: str
    update: str = Field(description="How it learns: one of the network's `UPDATES`.")
    start: Path
    out: Path
    rewards: dict[Reward, float]
    held_out: int


@dataclass(frozen=True)
class HeldOut:
    """Figures of each held-out frame: rewards by name, and CIEDE2000 to the clean one."""

    rewards: Mapping[Reward, npt.NDArray[np.float64]]
    delta_e: npt.NDArray[np.float64]

    def measured(self, weights: Mapping[Reward, float]) -> Measured:
        """Return the means.

        Parameters
        ----------
        weights
            Of the rewards.
        """
        return Measured(
            rewards={name: float(values.mean()) for name, values in self.rewards.items()},
            reward=float(total(self.rewards, weights).mean()),
            delta_e=float(self.delta_e.mean()),
        )


def align_pair(options: TrainOptions, lesson: AlignmentLesson) -> AlignmentReport:
    """Align a pair's critic or artist, and write the pair where its pictures gained.

    Parameters
    ----------
    options
        The command line's.
    lesson
        What is aligned.

    Raises
    ------
    ConfigError
        If the folder is no whole pair, or cannot be trained.
    """
    out = folder_beside(lesson.out, lesson.start)
    settings = options.fit_settings(_STEPS, _BATCH)
    settings = settings.model_copy(update={"learning_rate": _RATE, "ema": 0.95, "warmup": 10})
    pair, photos = read_pair(lesson.start), photos_of(options, Split.TRAIN)
    supervised = PairJudge(pair)
    side = max(FRAME_PX, supervised.side)
    how = f"{lesson.network}{lesson.update}{sorted(lesson.rewards.items())}"
    said = f"{content_hash(pair.files)}{how}{[p.name for p in photos]}"
    folder = options.run / f"align-{lesson.network}-{sha256(said.encode()).hexdigest()[:12]}"
    lay_out_again(pair, folder / "pair")
    laid_out = read_pair(folder / "pair")
    source, frames = (FrameSource(some, options.data, side) for some in (photos, photos_of(options, Split.VALIDATION)))
    _TRAIN[lesson.network](laid_out, supervised, source, lesson, settings, folder, options.torch_device())
    measured = []
    for name, judged in (("supervised", supervised), ("aligned", PairJudge(read_pair(folder / "pair")))):
        with tqdm(total=lesson.held_out, desc=f"held-out frames, {name}", unit="frame") as bar:
            measured.append(measure(judged, frames, lesson.held_out, bar.update))
    report = compared(lesson, settings.steps, *measured)
    if report.verdict is Verdict.GAINED:
        copy_pair(folder / "pair", out)
    return report


def _train_critic(
    pair: Pair,
    judge: PairJudge,
    source: FrameSource,
    lesson: AlignmentLesson,
    settings: FitSettings,
    folder: Path,
    device: torch.device,
) -> None:
    learner = Learner(pair)
    task = CriticAlignmentTask(learner, judge, source, lesson.rewards, settings, device)
    train_network("aligned critic", task, settings, folder, checkpoint_every=_CHECKPOINT_EVERY)
    save_learner(pair, learner)


def _train_artist(
    pair: Pair,
    judge: PairJudge,
    source: FrameSource,
    lesson: AlignmentLesson,
    settings: FitSettings,
    folder: Path,
    device: torch.device,
) -> None:
    levels = levels_of(artist_settings(pair), lesson.start)
    task = _UPDATES[lesson.update](pair, judge, levels, source, lesson.rewards, settings, device)
    train_network("aligned artist", task, settings, folder, checkpoint_every=_CHECKPOINT_EVERY)
    save_student(pair, task.model)


_DIRECT, _NFT = UPDATES[_ARTIST]
_UPDATES: Final[Mapping[str, type[AlignedArtist]]] = {
    _DIRECT: DirectAlignment,
    _NFT: NftAlignment,
}
_TRAIN: Final = {_CRITIC: _train_critic, _ARTIST: _train_artist}


def measure(
    judge: PairJudge, source: FrameSource, frames: int, on_frame: Callable[[int], object] = lambda _: None
) -> HeldOut:
    """Let a pair criticize and edit frames, and judge what comes of it.

    Parameters
    ----------
    judge
        Of the pair.
    source
        Draws the frames; the same ones each time.
    frames
        How many.
    on_frame
        Called with 1 for each.
    """
    shots, judged = [], []
    for number in range(frames):
        shot = Shot.of(source.draw(np.random.default_rng([_HELD_OUT_SEED, number])))
        shots.append(shot)
        judged.append([judge.said(shot, judge.answer(shot))])
        on_frame(1)
    rewards = {name: values[:, 0] for name, values in rewards_of(judged, shots).items()}
    return HeldOut(rewards, np.array([one.delta_e for (one,) in judged]))


def compared(lesson: AlignmentLesson, steps: int, supervised: HeldOut, aligned: HeldOut) -> AlignmentReport:
    """Return what was gained, and whether it is a gain: more reward, and pictures nearer to the clean frames.

    Parameters
    ----------
    lesson
        What was aligned.
    steps
        Optimizer steps.
    supervised, aligned
        Figures of the same frames.
    """
    reward = _difference(*(total(one.rewards, lesson.rewards) for one in (supervised, aligned)))
    delta_e = _difference(supervised.delta_e, aligned.delta_e)
    verdict = Verdict.NO_GAIN
    if reward.mean > _SURE * reward.error:
        verdict = Verdict.GAINED if delta_e.mean < -_SURE * delta_e.error else Verdict.HACKED
    return AlignmentReport(
        network=lesson.network,
        pair=str(lesson.start),
        steps=steps,
        frames=len(supervised.delta_e),
        weights=lesson.rewards,
        supervised=supervised.measured(lesson.rewards),
        aligned=aligned.measured(lesson.rewards),
        reward=reward,
        delta_e=delta_e,
        verdict=verdict,
        written=str(lesson.out) if verdict is Verdict.GAINED else None,
    )


def _difference(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> Difference:
    each = after - before
    return Difference(mean=float(each.mean()), error=float(each.std(ddof=1) / np.sqrt(len(each))))


def report_text(report: AlignmentReport) -> str:
    """Return the figures, one a line.

    Parameters
    ----------
    report
        What was measured.
    """
    before, after = report.supervised, report.aligned
    lines = [f"{name}: {before.rewards[name]:.3f} → {after.rewards[name]:.3f}" for name in before.rewards]
    return "\n".join(
        [
            f"{report.network} of {report.pair}, {report.steps} steps, {report.frames} held-out frames:",
            *lines,
            f"reward: {before.reward:.3f} → {after.reward:.3f} ({report.reward.mean:+.4f} ± {report.reward.error:.4f})",
            f"ΔE2000: {before.delta_e:.2f} → {after.delta_e:.2f} ({report.delta_e.mean:+.3f} ± "
            f"{report.delta_e.error:.3f})",
            _SAID[report.verdict] + (f" {report.written}" if report.written else ""),
        ]
    )


_SAID: Final[Mapping[Verdict, str]] = {
    Verdict.GAINED: "gained; written:",
    Verdict.HACKED: "reward hacking: more reward, and pictures no nearer to the clean frames; nothing was written",
    Verdict.NO_GAIN: "no gain: held-out frames give no more reward; nothing was written",
}
