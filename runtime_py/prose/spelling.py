"""Sentences that are given to the letter: which words go on with one of them, and how few still end it."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import PROSE_LENGTH
from pocketcrafter.runtime.prose.prompt import AMOUNT, LADDERS, Sentence, plan_word
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.wording import INSTRUCTIONS, NO_CHANGE


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


_INSTRUCTIONS: Final = {
    plan_word(attribute, amount): tuple(
        line.format(amount=AMOUNT) for line in INSTRUCTIONS[attribute, 1 if amount > 0 else -1]
    )
    for attribute in Attribute
    for amount in LADDERS[attribute]
    if amount
}
"""The instructions of each plan word that changes anything."""
