"""The grammar of a critique: which words may come next, so that malformed text cannot be written.

A finite-state machine over ids. A critique is a row of slots: given words (marks, and the hidden words of the outline),
then a sentence: of free words, of bounded length, that ends with a full stop; or, in the edit block, one of the
instructions that are read back, to the letter. Nothing still owed is ever crowded out of the decoder's positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import PROSE_LENGTH, TOKENS
from pocketcrafter.runtime.prose.prompt import (
    AMOUNT,
    LADDERS,
    PROMPT_LENGTH,
    STOPS_WORD,
    Outline,
    Sentence,
    Topic,
    plan_word,
)
from pocketcrafter.runtime.prose.tokenizer import Mark, Words
from pocketcrafter.runtime.prose.wording import INSTRUCTIONS, NO_CHANGE

_MOST_WORDS: Final = 48
_LEAST_WORDS: Final = 2
_OWED_WORDS: Final = _LEAST_WORDS + 1
"""The shortest free sentence: two words, the full stop."""
_STOP: Final = "."
_INSTRUCTIONS: Final = {
    plan_word(attribute, amount): tuple(
        line.format(amount=AMOUNT) for line in INSTRUCTIONS[attribute, 1 if amount > 0 else -1]
    )
    for attribute in Attribute
    for amount in LADDERS[attribute]
    if amount
}
"""The instructions of each plan word that changes anything."""


@dataclass(frozen=True)
class State:
    """Where a critique stands.

    Attributes
    ----------
    slot
        Index of the slot that is being written; the number of slots when only the answer is left.
    given, words
        Given words and free words of it so far.
    stops
        Exposures told in stops among them.
    stopped
        Whether the last word ended a sentence.
    text
        What an instruction says so far.
    used
        Positions that are taken, prompt included.
    """

    slot: int = 0
    given: int = 0
    words: int = 0
    stops: int = 0
    stopped: bool = False
    text: str = ""
    used: int = TOKENS + PROMPT_LENGTH


@dataclass(frozen=True)
class _Slot:
    """Given ids, whether the sentence after them may tell an exposure in stops, once, and all that it may be.

    Nothing in ``sentences`` stands for anything.
    """

    given: tuple[int, ...]
    stops: bool = False
    sentences: tuple[str, ...] = ()


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
        self._words, self._spelling = words, Spelling(words)
        self._stop = words.ids[_STOP]
        self._plain = np.flatnonzero(words.plain)
        ends = np.array([words.texts[n].endswith(_STOP) for n in self._plain])
        self._stops = frozenset(self._plain[ends].tolist())
        self._with_stops = np.sort(np.append(self._plain, words.ids[STOPS_WORD]))
        self._slots = _slots(words, told)
        owed = [1, *(len(slot.given) + self._fewest(slot) for slot in reversed(self._slots[1:]))]
        self._owed = list(reversed([sum(owed[: n + 1]) for n in range(len(owed))]))
        answer = str(round(min(max(score, 0.0), 100.0)))
        self._end_edit = words.ids[Mark.END_EDIT]
        self._ending = words.numbers([Mark.ANSWER, *answer, Mark.END])

    def allowed(self, state: State) -> npt.NDArray[np.int64]:
        """Return the ids that may follow, ascending; one id means that there is no choice."""
        slot = self._slots[state.slot]
        if state.given < len(slot.given):
            return np.array([slot.given[state.given]])
        room = PROSE_LENGTH - state.used - self._owed[state.slot]
        if slot.sentences:
            if state.text in slot.sentences:
                return np.array([self._first_after(state.slot)])
            return np.array(self._spelling.going_on(state.text, slot.sentences, room))
        if state.stopped and state.words >= _LEAST_WORDS:
            return np.array([self._first_after(state.slot)])
        if min(_MOST_WORDS - state.words, room) <= 1:
            return np.array([self._stop])
        return self._with_stops if slot.stops and not state.stops else self._plain

    def advance(self, state: State, word: int) -> State:
        """Return the state after a word that `allowed` names."""
        used = state.used + 1
        if state.given < len(self._slots[state.slot].given):
            return replace(state, given=state.given + 1, used=used)
        if state.words and word == self._first_after(state.slot):
            return State(state.slot + 1, given=1, used=used)
        return replace(
            state,
            words=state.words + 1,
            stops=state.stops + (word == self._words.ids[STOPS_WORD]),
            stopped=word in self._stops,
            text=state.text + self._words.texts[word] if self._slots[state.slot].sentences else "",
            used=used,
        )

    def ending(self, state: State) -> list[int] | None:
        """Return the rest of the critique once there is no choice left in it, or `None` while there is."""
        return self._ending if state.slot == len(self._slots) else None

    def _first_after(self, slot: int) -> int:
        """Return the word that ends a slot: the first of the next one."""
        return self._slots[slot + 1].given[0] if slot + 1 < len(self._slots) else self._end_edit

    def _fewest(self, slot: _Slot) -> int:
        """Return how few words a slot's sentence can have."""
        return min(map(self._spelling.fewest, slot.sentences), default=_OWED_WORDS)


def _slots(words: Words, told: Outline) -> list[_Slot]:
    slots, marks = [], [Mark.THINK]
    for mark, sentences in zip(Mark.parts(), told.thoughts, strict=True):
        marks.append(mark)
        for sentence in sentences:
            given = (*words.numbers(marks), *words.numbers(sentence.words))
            stops = sentence.topic is Topic.FAULTS and Attribute.EXPOSURE in sentence.attributes
            slots.append(_Slot(given, stops=stops))
            marks = []
    marks = [Mark.END_THINK, Mark.EDIT]
    for item in told.items:
        given = (*words.numbers([*marks, Mark.ITEM]), *words.numbers(item.words))
        slots.append(_Slot(given, sentences=sentences_of(item)))
        marks = []
    return slots


class Spelling:
    """What one vocabulary can spell, a word at a time.

    Parameters
    ----------
    words
        The vocabulary; it has every letter of an instruction.
    """

    def __init__(self, words: Words) -> None:
        self._ids = {words.texts[n]: n for n in (*np.flatnonzero(words.plain).tolist(), words.ids[AMOUNT])}
        self._longest = max(map(len, self._ids))
        self._fewest = {"": 0}

    def going_on(self, said: str, sentences: Sequence[str], most: int) -> list[int]:
        """Return the ids of words that go on with a sentence and leave it an end within ``most`` words, ascending.

        Parameters
        ----------
        said
            The beginning of a sentence that was written already.
        sentences
            The sentences that are allowed.
        most
            Words that are left.
        """
        rests = [sentence[len(said) :] for sentence in sentences if sentence.startswith(said)]
        return sorted({n for rest in rests for n, after in self._starts(rest) if self.fewest(after) < most})

    def fewest(self, rest: str) -> int:
        """Return how few words spell a text; more than a critique has where none do."""
        if rest not in self._fewest:
            ends = (self.fewest(after) for _, after in self._starts(rest))
            self._fewest[rest] = 1 + min(ends, default=PROSE_LENGTH)
        return self._fewest[rest]

    def _starts(self, rest: str) -> Iterator[tuple[int, str]]:
        for end in range(1, min(len(rest), self._longest) + 1):
            if (number := self._ids.get(rest[:end])) is not None:
                yield number, rest[end:]


def sentences_of(item: Sentence) -> tuple[str, ...]:
    """Return all that an item of the edit block may say, with the word for the amount in its place."""
    return _INSTRUCTIONS[item.words[0]] if item.words else NO_CHANGE
