"""The grammar of a critique: which words may come next, so that malformed text cannot be written.

A finite-state machine over ids. A critique is a row of slots: given words (marks, and the hidden words of the outline),
then a sentence of free words, of bounded length, that ends with a full stop. An instruction has its amount in it, once.
Nothing that is still owed is ever crowded out of the decoder's positions.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.components import PROSE_LENGTH, TOKENS
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.prompt import AMOUNT, PROMPT_LENGTH, STOPS_WORD, Outline, Topic
from pocketcrafter.runtime.prose.tokenizer import Mark, Words

_MOST_WORDS: Final = 48
_LEAST_WORDS: Final = 2
_OWED_WORDS: Final = _LEAST_WORDS + 2
"""The shortest sentence: two words, an amount, the full stop."""
_STOP: Final = "."


@dataclass(frozen=True)
class State:
    """Where a critique stands.

    Attributes
    ----------
    slot
        Index of the slot that is being written; the number of slots when only the answer is left.
    given, words
        Given words and free words of it so far.
    amounts
        Amounts among them.
    stopped
        Whether the last word ended a sentence.
    used
        Positions that are taken, prompt included.
    """

    slot: int = 0
    given: int = 0
    words: int = 0
    amounts: int = 0
    stopped: bool = False
    used: int = TOKENS + PROMPT_LENGTH


@dataclass(frozen=True)
class _Slot:
    """Given ids, the word for an amount that may be said once in the sentence after them, and whether it must be."""

    given: tuple[int, ...]
    amount: int | None = None
    must: bool = False


class Grammar:
    """The grammar for one vocabulary and one critique.

    Parameters
    ----------
    words
        The vocabulary.
    told
        What is said where.
    score
        The critic's score; the answer is this, rounded.
    """

    def __init__(self, words: Words, told: Outline, score: float) -> None:
        self._stop = words.ids[_STOP]
        self._plain = np.flatnonzero(words.plain)
        ends = np.array([words.texts[n].endswith(_STOP) for n in self._plain])
        self._stops = frozenset(self._plain[ends].tolist())
        self._unending = self._plain[~ends]
        self._slots = _slots(words, told)
        owed = [1, *(len(slot.given) + _OWED_WORDS for slot in reversed(self._slots[1:]))]
        self._owed = list(reversed([sum(owed[: n + 1]) for n in range(len(owed))]))
        answer = str(round(min(max(score, 0.0), 100.0)))
        self._end_edit = words.ids[Mark.END_EDIT]
        self._ending = words.numbers([Mark.ANSWER, *answer, Mark.END])

    def allowed(self, state: State) -> npt.NDArray[np.int64]:
        """Return the ids that may follow, ascending; one id means that there is no choice."""
        slot = self._slots[state.slot]
        if state.given < len(slot.given):
            return np.array([slot.given[state.given]])
        if state.stopped and state.words >= _LEAST_WORDS:
            return np.array([self._first_after(state.slot)])
        left = min(_MOST_WORDS - state.words, PROSE_LENGTH - state.used - self._owed[state.slot])
        owes = slot.must and not state.amounts
        if left <= 1 + owes:
            return np.array([slot.amount if owes else self._stop])
        free = self._unending if owes else self._plain
        return free if slot.amount is None or state.amounts else np.sort(np.append(free, slot.amount))

    def advance(self, state: State, word: int) -> State:
        """Return the state after a word that `allowed` names."""
        used = state.used + 1
        if state.given < len(self._slots[state.slot].given):
            return replace(state, given=state.given + 1, used=used)
        if state.words and word == self._first_after(state.slot):
            return State(state.slot + 1, given=1, used=used)
        amounts = state.amounts + (word == self._slots[state.slot].amount)
        return replace(state, words=state.words + 1, amounts=amounts, stopped=word in self._stops, used=used)

    def ending(self, state: State) -> list[int] | None:
        """Return the rest of the critique once there is no choice left in it, or `None` while there is."""
        return self._ending if state.slot == len(self._slots) else None

    def _first_after(self, slot: int) -> int:
        """Return the word that ends a slot: the first of the next one."""
        return self._slots[slot + 1].given[0] if slot + 1 < len(self._slots) else self._end_edit


def _slots(words: Words, told: Outline) -> list[_Slot]:
    slots, marks = [], [Mark.THINK]
    for mark, sentences in zip(Mark.parts(), told.thoughts, strict=True):
        marks.append(mark)
        for sentence in sentences:
            given = (*words.numbers(marks), *words.numbers(sentence.words))
            stops = sentence.topic is Topic.FAULTS and Attribute.EXPOSURE in sentence.attributes
            slots.append(_Slot(given, words.ids[STOPS_WORD] if stops else None))
            marks = []
    marks = [Mark.END_THINK, Mark.EDIT]
    for item in told.items:
        given = (*words.numbers([*marks, Mark.ITEM]), *words.numbers(item.words))
        slots.append(_Slot(given, words.ids[AMOUNT] if item.words else None, must=bool(item.words)))
        marks = []
    return slots
