"""What prose is measured on, and how many of a decoder's greedy choices another decoder makes too."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pocketcrafter.benchmarks.common.frames import MeasuredFrame
from pocketcrafter.export.train.evidence import critic_inputs, to_batch
from pocketcrafter.export.train.prose.facts import Facts, measure_facts
from pocketcrafter.export.train.prose.sampling import random_subject
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.pipeline import diagnose
from pocketcrafter.runtime.prose.grammar import Grammar, State
from pocketcrafter.runtime.prose.prompt import StatedPlan, outline, stated_plan, voice_of, worded_prompt
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Steps


@dataclass(frozen=True)
class Asked:
    """What a decoder is asked to write: plan tokens ``(1, TOKENS, TOKEN_DIM)``, plan, score 0–100 and how much."""

    tokens: FloatArray
    plan: StatedPlan
    score: float
    mode: Mode


def agreeing_choices(asked: Asked, ids: Sequence[int], other: Session, words: Words, most: int) -> tuple[int, int]:
    """Count the choices of a written critique that another decoder makes too.

    Parameters
    ----------
    asked
        What the other decoder is asked.
    ids
        The words that were written; the other decoder is given them one by one, whatever it would have said.
    other
        The other decoder.
    words
        The vocabulary of both.
    most
        Only the first so many choices; a word that the grammar forces is none.

    Returns
    -------
    tuple
        Choices that agree, and choices compared.
    """
    voice = voice_of(asked.plan, asked.score)
    steps = Steps(other)
    logits = steps.prompt(asked.tokens, words.numbers(worded_prompt(asked.plan, asked.score, asked.mode, voice)))
    grammar = Grammar(words, outline(asked.plan, asked.score, asked.mode, voice), asked.score)
    state, same, compared = State(), 0, 0
    for word in ids:
        if grammar.ending(state) is not None or compared == most:
            break
        allowed = grammar.allowed(state)
        if len(allowed) > 1:
            compared += 1
            same += int(allowed[np.argmax(logits[allowed])]) == word
        state = grammar.advance(state, word)
        logits = steps.take(word)
    return same, compared


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
    frames: Iterable[MeasuredFrame],
    gate: GateSettings,
    session: Callable[[str], Session],
    modes: tuple[Mode, ...],
    seed: int,
) -> Iterator[Case]:
    """Yield for each frame and mode a case with the gated plan and one with a random plan.

    Parameters
    ----------
    frames
        What the critic looks at.
    gate
        What of the critic's plan is carried out.
    session
        Opens the critic, and the judge where the gate has one; called for each frame.
    modes
        At length, in short, or both.
    seed
        Of the random plans.
    """
    for index, measured in enumerate(frames):
        view, crops = critic_inputs(measured.frame.degraded)
        critique, tokens = diagnose(_network_input(view[None]), _network_input(crops), gate, session)
        facts = measure_facts(view[None])[0]
        for number, mode in enumerate(modes):
            any_subject = random_subject(np.random.default_rng([seed, index, number]))
            plans = {PlanKind.GATED: stated_plan(critique.plan, gate), PlanKind.RANDOM: any_subject.plan}
            for kind, plan in plans.items():
                yield Case(kind, tokens, facts, plan, critique.score, mode)


def _network_input(pictures: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> FloatArray:
    array: FloatArray = to_batch(pictures).contiguous().numpy()
    return array
