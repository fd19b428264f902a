"""What prose is measured on: frames as the critic sees them, each with the plan behind the gate and with any other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pocketcrafter.benchmarks.frames import MeasuredFrame
from pocketcrafter.export.train.evidence import critic_inputs, to_batch
from pocketcrafter.export.train.prose.facts import Facts, measure_facts
from pocketcrafter.export.train.prose.sampling import random_subject
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.critique import critique_from
from pocketcrafter.runtime.gate import GateSettings
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.prose.prompt import StatedPlan, stated_plan


class PlanKind(StrEnum):
    """Where a plan comes from."""

    GATED = "gated"
    """What the bundle's gate lets through: what people get."""
    RANDOM = "random"
    """Any plan at all, so that every attribute, direction and amount is measured."""


@dataclass(frozen=True)
class Case:
    """One critique to write: the frame's plan tokens and facts, the plan and score in its prompt, and how much."""

    kind: PlanKind
    tokens: FloatArray
    facts: Facts
    plan: StatedPlan
    score: float
    mode: Mode


def cases(
    frames: Iterable[MeasuredFrame], critic: Session, gate: GateSettings, modes: tuple[Mode, ...], seed: int
) -> Iterator[Case]:
    """Yield for each frame and mode a case with the gated plan and one with a random plan.

    Parameters
    ----------
    frames
        What the critic looks at.
    critic
        The critic's network.
    gate
        Applied to the critic's plan.
    modes
        At length, in short, or both.
    seed
        Of the random plans.
    """
    for index, measured in enumerate(frames):
        view, crops = critic_inputs(measured.frame.degraded)
        said = critic.run({"view": _network_input(view[None]), "crops": _network_input(crops)})
        critique = critique_from(
            said["plan"][0], said["presence"][0], said["confidence"][0], float(said["score"][0, 0]), gate
        )
        facts = measure_facts(view[None])[0]
        for number, mode in enumerate(modes):
            any_subject = random_subject(np.random.default_rng([seed, index, number]))
            plans = {PlanKind.GATED: stated_plan(critique.plan, gate), PlanKind.RANDOM: any_subject.plan}
            for kind, plan in plans.items():
                yield Case(kind, said["tokens"], facts, plan, critique.score, mode)


def _network_input(pictures: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> FloatArray:
    array: FloatArray = to_batch(pictures).contiguous().numpy()
    return array
