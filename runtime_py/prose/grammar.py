"""The grammar of a critique: which words may come next, so that malformed text cannot be written.

A finite-state machine over ids. A critique is a row of slots: marks, hidden words that say what comes, and stretches of
free words of bounded length that end with a full stop. Nothing that is still owed is ever crowded out of the decoder's
positions.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.components import PROSE_LENGTH, TOKENS
from pocketcrafter.runtime.prose.prompt import PROMPT_LENGTH, Outline
from pocketcrafter.runtime.prose.tokenizer import Mark, Words

_PART_WORDS: Final = 96
_ITEM_WORDS: Final = 20
_LEAST_WORDS: Final = 2
_STOP: Final = "."
_PARTS: Final = Mark.parts()


@dataclass(frozen=True)
class State:
    """Where a critique stands.

    Attributes
    ----------
    mark
        The last mark that was written; `None` before the first.
    hidden
        Hidden words since then.
    words
        Free words since then.
    items
        Instructions so far.
    stopped
        Whether the last word ended a sentence.
    used
        Positions that are taken, prompt included.
    """

    mark: Mark | None = None
    hidden: int = 0
    words: int = 0
    items: int = 0
    stopped: bool = False
    used: int = TOKENS + PROMPT_LENGTH


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
        self._words = words
        self._items = told.items
        self._told = {Mark.PART_1: told.quality, Mark.PART_2: told.color, Mark.PART_5: told.summary}
        self._mark_of = {words.ids[mark]: mark for mark in Mark}
        self._stop = words.ids[_STOP]
        self._stops = frozenset(n for n in np.flatnonzero(words.plain).tolist() if words.texts[n].endswith(_STOP))
        self._answer = str(round(min(max(score, 0.0), 100.0)))

    def allowed(self, state: State) -> npt.NDArray[np.int64]:
        """Return the ids that may follow, ascending; one id means that there is no choice."""
        following = self._marks_after(state)
        if state.mark is None or not _is_free(state.mark):
            return self._ids(following)
        hidden = self._hidden_after(state)
        if state.hidden < len(hidden):
            return np.array([self._words.ids[hidden[state.hidden]]])
        room = PROSE_LENGTH - state.used - self._owed(state)
        limit = _ITEM_WORDS if state.mark is Mark.ITEM else _PART_WORDS
        left = min(limit - state.words, room)
        if state.stopped and left <= 1:
            return self._ids(following[-1:])
        if left <= 1:
            return np.array([self._stop])
        plain = np.flatnonzero(self._words.plain)
        if state.words < _LEAST_WORDS or not state.stopped:
            return plain
        return np.sort(np.concatenate([plain, self._ids(following)]))

    def advance(self, state: State, word: int) -> State:
        """Return the state after a word that `allowed` names."""
        used = state.used + 1
        mark = self._mark_of.get(word)
        if mark is None and not self._words.plain[word]:
            return replace(state, hidden=state.hidden + 1, used=used)
        if mark is None:
            return replace(state, words=state.words + 1, stopped=word in self._stops, used=used)
        return State(mark, items=state.items + (mark is Mark.ITEM), used=used)

    def ending(self, state: State) -> list[int] | None:
        """Return the rest of the critique once there is no choice left in it, or `None` while there is."""
        if state.mark is not Mark.END_EDIT:
            return None
        return self._words.numbers([Mark.ANSWER, *self._answer, Mark.END])

    def _marks_after(self, state: State) -> list[Mark]:
        """Return the marks that may come next."""
        if state.mark is None:
            return [Mark.THINK]
        if state.mark is Mark.ITEM:
            return [Mark.ITEM if state.items < len(self._items) else Mark.END_EDIT]
        return [_NEXT[state.mark]]

    def _hidden_after(self, state: State) -> tuple[str, ...]:
        """Return the hidden words that stand between a mark and its free words."""
        if state.mark is Mark.ITEM:
            return self._items[state.items - 1 : state.items]
        return self._told.get(state.mark, ()) if state.mark is not None else ()

    def _owed(self, state: State) -> int:
        """Return the fewest positions that what must follow the open stretch takes."""
        items = max(1, len(self._items)) - state.items
        owed, mark = items * (1 + 1 + _LEAST_WORDS + 1) + 1, state.mark
        while mark is not None and mark is not Mark.ITEM:
            mark = _NEXT[mark]
            if mark is not Mark.ITEM:
                owed += 1 + (len(self._told.get(mark, ())) + _LEAST_WORDS + 1 if _is_free(mark) else 0)
        return owed

    def _ids(self, marks: list[Mark]) -> npt.NDArray[np.int64]:
        return np.sort(np.array([self._words.ids[mark] for mark in marks], dtype=np.int64))


_NEXT: Final = {
    Mark.THINK: Mark.PART_1,
    **dict(zip(_PARTS, (*_PARTS[1:], Mark.END_THINK), strict=True)),
    Mark.END_THINK: Mark.EDIT,
    Mark.EDIT: Mark.ITEM,
    Mark.END_EDIT: Mark.ANSWER,
}


def _is_free(mark: Mark) -> bool:
    return mark is Mark.ITEM or mark in _PARTS
