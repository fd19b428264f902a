"""How many of a decoder's greedy choices another one makes too, given the same words before them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.prose.grammar import Grammar, State
from pocketcrafter.runtime.prose.prompt import StatedPlan, outline, voice_of, worded_prompt
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
