"""Whether what prose says of light, palette, colorfulness and detail is what was measured."""

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final, TypeVar

from pocketcrafter.export.train.prose import phrases as ph
from pocketcrafter.export.train.prose.facts import Facts

_Level = TypeVar("_Level", bound=IntEnum)
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


def _told(text: str, phrases: Mapping[_Level, Sequence[str]], measured: _Level) -> Iterator[int]:
    # Of "warm" and "very warm" only the longer one is meant where it stands.
    found = [(len(p), level) for level, choices in phrases.items() for p in choices if p.lower() in text]
    if found:
        yield abs(max(found)[1] - measured)


def _mood(text: str, facts: Facts) -> Iterator[int]:
    for opening in _MOODS:
        _, said, rest = text.partition(opening.lower())
        if not said:
            continue
        light, _, palette = rest.split(".")[0].partition(" and ")
        yield from (abs(level - facts.light) for level, mood in ph.MOOD_OF_LIGHT.items() if mood == light)
        yield from (abs(level - facts.palette) for level, mood in ph.MOOD_OF_PALETTE.items() if mood == palette)
