"""Writes a critique: the greedy loop over the decoder's steps, inside the grammar."""

import time
from dataclasses import dataclass

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.errors import ShapeMismatchError
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.pocket import (
    PROSE_CACHE,
    PROSE_KEYS,
    PROSE_LAYERS,
    PROSE_LENGTH,
    PROSE_VALUES,
    PROSE_WORDS,
    TOKEN_DIM,
    TOKENS,
)
from pocketcrafter.runtime.prose.grammar import Grammar, State
from pocketcrafter.runtime.prose.parse import Prose, parse_prose
from pocketcrafter.runtime.prose.prompt import StatedPlan, outline, prompt_words, voice_of
from pocketcrafter.runtime.prose.tokenizer import Words


@dataclass(frozen=True)
class Written:
    """A critique, and how it was written.

    Attributes
    ----------
    prose
        Text and meaning.
    ids
        The words after the prompt.
    choices
        How many of them the decoder chose; the others are the only ones that the grammar allows.
    steps
        Runs of the decoder, the prompt's included.
    seconds
        Wall-clock time of all steps.
    """

    prose: Prose
    ids: tuple[int, ...]
    choices: int
    steps: int
    seconds: float

    @property
    def ms_per_token(self) -> float:
        """Milliseconds a run of the decoder."""
        return 1000 * self.seconds / self.steps


class Writer:
    """Writes critiques with one decoder; keeps nothing between them.

    Parameters
    ----------
    session
        The decoder.
    words
        Its vocabulary.
    """

    def __init__(self, session: Session, words: Words) -> None:
        self._session = session
        self._words = words

    def write(self, tokens: FloatArray, plan: StatedPlan, score: float, mode: Mode) -> Written:
        """Write the critique of one photo.

        Parameters
        ----------
        tokens
            The critic's plan tokens, shape ``(1, TOKENS, TOKEN_DIM)``.
        plan
            The gated plan, as :func:`~pocketcrafter.runtime.prose.prompt.stated_plan` gives it.
        score
            Photo score, 0 to 100.
        mode
            How much to write.

        Raises
        ------
        ShapeMismatchError
            If the tokens have another shape.
        BackendError
            If the decoder fails.
        """
        if tokens.shape != (1, TOKENS, TOKEN_DIM):
            raise ShapeMismatchError(f"Plan tokens have shape (1, {TOKENS}, {TOKEN_DIM}), not {tokens.shape}.")
        started = time.perf_counter()
        steps = Steps(self._session)
        logits = steps.prompt(tokens, self._words.numbers(prompt_words(plan, score, mode)))
        grammar = Grammar(self._words, outline(plan, score, mode, voice_of(plan, score)), score)
        state, written, choices = State(), list[int](), 0
        while (ending := grammar.ending(state)) is None:
            allowed = grammar.allowed(state)
            word = int(allowed[np.argmax(logits[allowed])]) if len(allowed) > 1 else int(allowed[0])
            choices += len(allowed) > 1
            written.append(word)
            state = grammar.advance(state, word)
            if grammar.ending(state) is None:
                logits = steps.take(word)
        seconds = time.perf_counter() - started
        ids = (*written, *ending)
        return Written(parse_prose(self._words.text(ids)), ids, choices, steps.taken, seconds)


class Steps:
    """The decoder's caches and how far they are filled."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keys, self._values = (np.zeros((PROSE_LAYERS, *PROSE_CACHE), np.float32) for _ in range(2))
        self.taken = 0

    def prompt(self, tokens: FloatArray, words: list[int]) -> FloatArray:
        """Take the plan tokens and the words of a prompt; return the logits of the first word after it."""
        for token in tokens[0]:
            self._run(np.zeros((1, PROSE_WORDS), np.float32), token[None])
        for word in words[:-1]:
            self.take(word)
        return self.take(words[-1])

    def take(self, word: int) -> FloatArray:
        """Take one word; return the next word's logits, shape ``(PROSE_WORDS,)``."""
        return self._run(one_hot(word, PROSE_WORDS), np.zeros((1, TOKEN_DIM), np.float32))

    def inputs(self, word: FloatArray, soft: FloatArray) -> dict[str, FloatArray]:
        """Return the decoder's inputs for its next step; the caches are the ones that later steps write into."""
        keys, values = zip(PROSE_KEYS, self._keys, strict=True), zip(PROSE_VALUES, self._values, strict=True)
        return {"word": word, "soft": soft, "position": one_hot(self.taken, PROSE_LENGTH), **dict(keys), **dict(values)}

    def _run(self, word: FloatArray, soft: FloatArray) -> FloatArray:
        said = self._session.run(self.inputs(word, np.ascontiguousarray(soft, dtype=np.float32)))
        for cache, row in ((self._keys, said["key"]), (self._values, said["value"])):
            cache[:, :, self.taken] = row[:, :, 0]
        self.taken += 1
        logits: FloatArray = said["logits"][0]
        return logits


def one_hot(index: int, size: int) -> FloatArray:
    """Return float32 ``(1, size)`` with a one at an index."""
    vector = np.zeros((1, size), np.float32)
    vector[0, index] = 1
    return vector
