"""Rewards by which a latent pair is aligned: what an answer, and the picture that the artist makes of it, are worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from pocketcrafter.export.data.degrade import Frame
from pocketcrafter.export.teachers.told import told_by
from pocketcrafter.export.train.evidence import photo_score
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.photo import Photo
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.render import render

VIEW_PX: Final = 64
"""Side at which pictures are compared: rewards are about tone and light, and are computed for each sampled answer."""
HALF_DELTA_E: Final = 10.0
"""CIEDE2000 at which half of the photometric reward is left."""
UNSEEN: Final = 0.02
"""Root mean square of a change that counts as none; pictures are in [0, 1]."""
_SPREAD: Final = 0.05
"""Least standard deviation of a score in [0, 1]: scores nearer than that are not told apart with certainty."""
_ALIKE: Final = 1e-3
"""Added to a group's standard deviation, so that rewards which are all but equal give no advantage."""


class Reward(StrEnum):
    """What is rewarded, each in [0, 1].

    Attributes
    ----------
    FORMAT
        Whether the answer parses as a critique.
    EXECUTED
        How far the artist's change is the one that the answer suggests, as the analytic renderer carries it out.
    PHOTOMETRIC
        How near the artist's picture is to the clean frame in CIEDE2000.
    RANK
        How surely the answer's score orders the frame among the others as the true scores do (Thurstone's model, as in
        VisualQuality-R1: Wu et al., 2025).
    """

    FORMAT = "format"
    EXECUTED = "executed"
    PHOTOMETRIC = "photometric"
    RANK = "rank"


@dataclass(frozen=True)
class Shot:
    """A frame, and what pictures of it are compared with.

    Attributes
    ----------
    photo
        Degraded, as critic and artist are shown it.
    before, clean
        Degraded and clean, sRGB in [0, 1], ``(VIEW_PX, VIEW_PX, 3)``.
    score
        The true one, in [0, 1].
    """

    photo: Photo
    before: FloatArray
    clean: FloatArray
    score: float

    @classmethod
    def of(cls, frame: Frame) -> "Shot":
        """Return a frame's.

        Parameters
        ----------
        frame
            Degraded and clean.
        """
        before, clean = (view(np.asarray(picture / 255, np.float32)) for picture in (frame.degraded, frame.clean))
        return cls(Photo(frame.degraded), before, clean, photo_score(frame))


@dataclass(frozen=True)
class Judged:
    """One answer and its picture; `score` is not a number where the answer does not parse."""

    readable: bool
    executed: float
    delta_e: float
    score: float


def view(picture: FloatArray) -> FloatArray:
    """Return a picture at the size at which pictures are compared.

    Parameters
    ----------
    picture
        sRGB, ``(H, W, 3)``.
    """
    small: FloatArray = cv2.resize(picture.astype(np.float32), (VIEW_PX, VIEW_PX), interpolation=cv2.INTER_AREA)
    return small


def judge(shot: Shot, text: str, change: FloatArray) -> Judged:
    """Judge an answer and what the artist made of it.

    Parameters
    ----------
    shot
        The frame.
    text
        The answer.
    change
        What the artist adds to the photo, sRGB, ``(H, W, 3)``.
    """
    asked, score = suggested(shot, text)
    edited = np.clip(shot.before + view(change), 0, 1)
    executed = 0.0 if asked is None else agreement(edited - shot.before, asked - shot.before)
    return Judged(asked is not None, executed, delta_e(edited, shot.clean), score)


def suggested(shot: Shot, text: str) -> tuple[FloatArray | None, float]:
    """Return what an answer suggests, as the analytic renderer carries it out, and its score.

    Parameters
    ----------
    shot
        The frame.
    text
        The answer; one that does not parse suggests nothing, `None`, and its score is not a number.
    """
    told = told_by(text)
    score = float(told[-1])
    return None if np.isnan(score) else render(EditPlan.from_vector(told[:-1]), shot.before), score


def agreement(made: FloatArray, asked: FloatArray) -> float:
    """Return how far two changes are one: 1 where they are equal, about 0 where one lacks or is opposed to the other.

    Parameters
    ----------
    made, asked
        Of one shape.
    """
    both, apart = _rms(made) + _rms(asked), _rms(made - asked)
    return (both - apart + UNSEEN) / (both + UNSEEN)


def delta_e(edited: FloatArray, clean: FloatArray) -> float:
    """Return the mean CIEDE2000 of two pictures.

    Parameters
    ----------
    edited, clean
        sRGB in [0, 1], ``(H, W, 3)``.
    """
    return float(deltaE_ciede2000(rgb2lab(edited), rgb2lab(clean)).mean())


def rewards_of(groups: Sequence[Sequence[Judged]], shots: Sequence[Shot]) -> dict[Reward, npt.NDArray[np.float64]]:
    """Return each reward of each answer, ``(frames, answers)``.

    Parameters
    ----------
    groups
        Of each frame its answers, as many of each.
    shots
        The frames.
    """
    scores = np.array([[one.score for one in group] for group in groups])
    return {
        Reward.FORMAT: np.array([[float(one.readable) for one in group] for group in groups]),
        Reward.EXECUTED: np.array([[one.executed for one in group] for group in groups]),
        Reward.PHOTOMETRIC: np.array([[1 / (1 + one.delta_e / HALF_DELTA_E) for one in group] for group in groups]),
        Reward.RANK: ranked(scores, np.array([shot.score for shot in shots])),
    }


def ranked(scores: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how surely each score orders its frame among the others as the true scores do.

    Parameters
    ----------
    scores
        ``(frames, answers)``, not a number where an answer has none; such an answer gets 0.
    true
        ``(frames,)``.
    """
    made = np.zeros(scores.shape)
    known = [row[~np.isnan(row)] for row in scores]
    for frame, row in enumerate(scores):
        others = [other for other in range(len(scores)) if other != frame and len(known[other])]
        for place, score in enumerate(row):
            if np.isnan(score) or not others:
                continue
            made[frame, place] = np.mean(
                [_order(score - known[o].mean(), known[frame].var() + known[o].var(), true[frame], true[o])
                 for o in others]
            )  # fmt: skip
    return made


def _order(ahead: float, variance: float, own: float, other: float) -> float:
    likely = NormalDist().cdf(ahead / float(np.sqrt(variance + 2 * _SPREAD**2)))
    right = float(np.sign(own - other) + 1) / 2
    return float(np.sqrt(likely * right) + np.sqrt((1 - likely) * (1 - right)))


def total(
    rewards: Mapping[Reward, npt.NDArray[np.float64]], weights: Mapping[Reward, float]
) -> npt.NDArray[np.float64]:
    """Return the weighted mean of rewards.

    Parameters
    ----------
    rewards
        By name.
    weights
        By name; rewards without one do not count.
    """
    summed = np.sum([weight * rewards[name] for name, weight in weights.items()], 0)
    return np.asarray(summed / sum(weights.values()))


def advantages(rewards: npt.NDArray[np.float64], device: torch.device) -> Tensor:
    """Return by how many standard deviations of its group each reward is above the group's mean, flat.

    Parameters
    ----------
    rewards
        ``(groups, members)``.
    device
        Where to.
    """
    centered = rewards - rewards.mean(1, keepdims=True)
    relative = centered / (rewards.std(1, keepdims=True) + _ALIKE)
    return torch.from_numpy(relative.astype(np.float32)).flatten().to(device)


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.square(values).mean()))
