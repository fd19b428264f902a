"""Whether what prose says of light, palette, colorfulness and detail is what was measured."""

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final

from pocketcrafter.export.train.prose import phrases as ph
from pocketcrafter.export.train.prose.facts import Facts

_MOODS: Final = [template.split("{light}")[0] for template in ph.MOODS]


def fact_errors(thoughts: Sequence[str], facts: Facts) -> list[int]:
    """Return for each fact that the text tells how many steps of its scale it is off.

    Parameters
    ----------
    thoughts
        The five thoughts.
    facts
        What was measured.
    """
    text = " ".join(thoughts).lower()
    return [
        *_told(text, ph.LIGHT, facts.light),
        *_told(text, ph.PALETTE, facts.palette),
        *_told(text, ph.COLORS, facts.colorfulness),
        *_told(text, ph.DETAIL, facts.detail),
        *_mood(text, facts),
    ]


def _told(text: str, phrases: Mapping[IntEnum, Sequence[str]], measured: IntEnum) -> Iterator[int]:
    # Of "warm" and "very warm" only the longer one is meant where it stands.
    found = [(len(p), level) for level, choices in phrases.items() for p in choices if p.lower() in text]
    if found:
        yield abs(max(found)[1] - measured)


def _mood(text: str, facts: Facts) -> Iterator[int]:
    for opening in _MOODS:
        _, said, rest = text.partition(opening.lower())
        if not said:
            continue
        words = rest.split(".")[0].split(" and ", 1)
        scales = (ph.MOOD_OF_LIGHT, facts.light), (ph.MOOD_OF_PALETTE, facts.palette)
        for word, (moods, measured) in zip(words, scales, strict=False):
            yield from (abs(level - measured) for level, mood in moods.items() if mood == word)
