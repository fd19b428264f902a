"""Draws what the decoder is trained to write about: plans of every kind, each with the frame that it is told of."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.train.prose.compose import Subject
from pocketcrafter.export.train.prose.facts import Colorfulness, Detail, Facts, Light, Palette
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import UNITS, Attribute
from pocketcrafter.runtime.prose.prompt import LADDERS, VOICES, StatedPlan, nearest_step

MOST_FAULTS: Final = 7
"""Faults in one critique; what more a gate lets through is rare, and the weakest are left to the numbers."""

_FULL_SHARE: Final = 0.6
_RANDOM_SHARE: Final = 0.7
_PREDICTED_SHARE: Final = 0.2
_SHAKE: Final = 0.15
_RANDOM_SCORE_SHARE: Final = 0.2
_FAULTS: Final = (0.12, 0.22, 0.22, 0.18, 0.12, 0.08, 0.04, 0.02)
"""Probability of each number of faults in a random plan."""


@dataclass(frozen=True)
class Judged:
    """Frames, as prose needs them.

    Attributes
    ----------
    tokens
        The critic's plan tokens: float32, ``(N, TOKENS, TOKEN_DIM)``.
    predicted, presence
        The critic's plan in vector units and its presences: float32, ``(N, len(Attribute))``.
    scores
        The critic's score, 0 to 100: float32, ``(N,)``.
    plans
        True plans in vector units: float32, ``(N, len(Attribute))``.
    facts
        Measured facts of each frame.
    """

    tokens: npt.NDArray[np.float32]
    predicted: npt.NDArray[np.float32]
    presence: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    plans: npt.NDArray[np.float32]
    facts: list[Facts]

    @classmethod
    def of(cls, judged: Judgement, plans: npt.NDArray[np.float32], facts: list[Facts]) -> "Judged":
        """Gather what a critic said of frames, their true plans and their facts.

        Parameters
        ----------
        judged
            What the critic said of frames.
        plans
            True plans, ``(N, len(Attribute))``.
        facts
            Of each frame.
        """
        return cls(
            tokens=judged.tokens.numpy(),
            predicted=judged.plan.numpy(),
            presence=judged.presence.numpy(),
            scores=100 * judged.score[:, 0].numpy(),
            plans=plans,
            facts=facts,
        )

    def __len__(self) -> int:
        return len(self.facts)


def draw_subject(judged: Judged, row: int, rng: np.random.Generator) -> Subject:
    """Draw one critique about a frame: a predicted plan behind a random gate, a true one with noise, or a random one.

    Parameters
    ----------
    judged
        The frames.
    row
        Which of them.
    rng
        Draws everything else.
    """
    kind = rng.random()
    if kind < _RANDOM_SHARE:
        plan: StatedPlan = _random_plan(rng)
    else:
        predicted = kind < _RANDOM_SHARE + _PREDICTED_SHARE
        plan = _stated(_gated(judged, row, rng) if predicted else _shaken(judged.plans[row], rng))
    score = rng.uniform(0, 100) if rng.random() < _RANDOM_SCORE_SHARE else judged.scores[row]
    return _told_about(judged.facts[row], plan, float(score), rng)


def random_subject(rng: np.random.Generator) -> Subject:
    """Draw a critique about no frame at all: any plan, facts and score."""
    light, palette, colors, detail = (int(rng.integers(len(kind))) for kind in (Light, Palette, Colorfulness, Detail))
    facts = Facts(Light(light), Palette(palette), Colorfulness(colors), Detail(detail))
    return _told_about(facts, _random_plan(rng), float(rng.uniform(0, 100)), rng)


def _told_about(facts: Facts, plan: StatedPlan, score: float, rng: np.random.Generator) -> Subject:
    """Hide some of what a plan leaves alone, and choose mode and voice."""
    unseen = rng.random(len(Attribute)) < rng.uniform(0, 0.8)
    told = {a: None if not plan[a] and hidden else plan[a] for a, hidden in zip(Attribute, unseen, strict=True)}
    mode = Mode.FULL if rng.random() < _FULL_SHARE else Mode.SHORT
    return Subject(told, facts, score, mode, int(rng.integers(VOICES)))


def _random_plan(rng: np.random.Generator) -> dict[Attribute, float]:
    count = int(rng.choice(len(_FAULTS), p=_FAULTS))
    chosen = set(rng.permutation(len(Attribute))[:count].tolist())
    return {
        a: float(rng.choice([step for step in LADDERS[a] if step])) if index in chosen else 0.0
        for index, a in enumerate(Attribute)
    }


def _gated(judged: Judged, row: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    width = len(Attribute)
    plan = judged.predicted[row].astype(np.float64)
    kept = (judged.presence[row] > rng.uniform(0.2, 0.95, width)) & (np.abs(plan) > rng.uniform(0, 0.3, width))
    return np.where(kept, plan * rng.uniform(0.6, 1.2, width), 0.0)


def _shaken(plan: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.where(plan != 0, plan + rng.normal(0, _SHAKE, plan.shape) * (rng.random() < 0.5), 0.0)


def _stated(vector: npt.NDArray[np.float64]) -> StatedPlan:
    strongest = np.argsort(-np.abs(vector))[:MOST_FAULTS]
    kept = np.zeros_like(vector)
    kept[strongest] = vector[strongest]
    return {a: nearest_step(a, float(x)) for a, x in zip(Attribute, kept * UNITS, strict=True)}
