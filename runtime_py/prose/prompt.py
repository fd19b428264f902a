"""What the decoder is told before it writes: mode, voice, score and the gated plan, each as one discrete word."""

import zlib
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import Attribute, EditPlan

StatedPlan = Mapping[Attribute, float | None]
"""A plan as the prose states it: amounts on `LADDERS` in the attribute's own unit, and `None` for "not assessed"."""


QUALITY: Final = (Attribute.DEBLUR, Attribute.DENOISE, Attribute.DEJPEG)
COLOR_AND_LIGHT: Final = tuple(a for a in Attribute if a not in QUALITY)
"""The attributes of the first thought and of the second."""

VOICES: Final = 6
"""Ways of wording one finding; a photo's own facts choose one, so that the same photo is told the same way."""
_SCORE_STEP: Final = 5

_TENTHS: Final = tuple(round(0.1 * n, 1) for n in range(1, 11))
_TWENTIETHS: Final = (*(round(0.05 * n, 2) for n in range(1, 11)), 0.6, 0.7, 0.8, 0.9, 1.0)
_SIGNED: Final[Mapping[Attribute, tuple[float, ...]]] = {
    Attribute.EXPOSURE: (*_TENTHS, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0),
    Attribute.TEMPERATURE: (*(5.0 * n for n in range(1, 11)), 60.0, 70.0, 80.0, 90.0, 100.0, 120.0, 150.0, 200.0),
    Attribute.TINT: (*(5.0 * n for n in range(1, 11)), 60.0, 80.0, 100.0),
    Attribute.CONTRAST: _TWENTIETHS,
    Attribute.HIGHLIGHTS: _TWENTIETHS,
    Attribute.SHADOWS: _TWENTIETHS,
    Attribute.SATURATION: _TWENTIETHS,
}
LADDERS: Final[Mapping[Attribute, tuple[float, ...]]] = {
    a: (*(-x for x in reversed(_SIGNED[a])), 0.0, *_SIGNED[a]) if a in _SIGNED else (0.0, 0.05, *_TENTHS)
    for a in Attribute
}
"""The amounts that prose can state, ascending, in the attribute's own unit; 0 is "no change"."""


def stated_plan(plan: EditPlan, gate: GateSettings) -> StatedPlan:
    """Return what prose says of a gated plan: each amount rounded to its ladder.

    An amount below half of the ladder's first step is too small to name: it is told as no change. An attribute whose
    gate can never open is not assessed.
    """
    assessed = gate.assessed
    return {
        a: None if a not in assessed and not getattr(plan, a) else nearest_step(a, getattr(plan, a)) for a in Attribute
    }


def as_stated(plan: EditPlan) -> EditPlan:
    """Return a plan with the amounts that prose states; a turn and a crop stay."""
    return plan.replace(**{a.value: nearest_step(a, getattr(plan, a)) for a in Attribute})


def nearest_step(attribute: Attribute, amount: float) -> float:
    """Return the nearest amount on an attribute's ladder; of two as near, the smaller."""
    ladder = LADDERS[attribute]
    place = bisect_left(ladder, amount)
    return min(ladder[max(0, place - 1) : place + 1], key=lambda step: (abs(step - amount), abs(step)))


def prompt_words(plan: StatedPlan, score: float, mode: Mode) -> tuple[str, ...]:
    """Return the words of a prompt, in order; they follow the critic's plan tokens.

    Parameters
    ----------
    plan
        As `stated_plan` gives it.
    score
        Photo score, 0 to 100.
    mode
        How much is to be written.
    """
    return worded_prompt(plan, score, mode, voice_of(plan, score))


def worded_prompt(plan: StatedPlan, score: float, mode: Mode, voice: int) -> tuple[str, ...]:
    """Return the words of a prompt for a voice of the caller's choice, in [0, VOICES).

    Parameters
    ----------
    plan
        The stated amounts.
    score
        0 to 100.
    mode
        At length or in short.
    voice
        In [0, VOICES): which of the wordings.
    """
    return (mode_word(mode), voice_word(voice), score_word(score), *(plan_word(a, plan[a]) for a in Attribute))


def voice_of(plan: StatedPlan, score: float) -> int:
    """Choose the voice that tells these facts: always the same for the same ones."""
    return zlib.crc32(repr((int(score), [plan[a] for a in Attribute])).encode()) % VOICES


class Topic(StrEnum):
    """What a sentence of the thoughts is about."""

    TEXTURE = "texture"
    LIGHT = "light"
    COLORS = "colors"
    FAULTS = "faults"
    FINE = "fine"
    UNSEEN = "unseen"
    SOUND = "sound"
    COMPOSITION = "composition"
    AESTHETICS = "aesthetics"
    SUMMARY = "summary"
    EDIT = "edit"


@dataclass(frozen=True)
class Sentence:
    """One sentence that is to be written: what about, and the hidden words that stand in front of it."""

    topic: Topic
    words: tuple[str, ...]
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True)
class Outline:
    """What a critique says where: the sentences of its five thoughts, and one for each instruction.

    The decoder is told, and the grammar enforces, what is to be said; the decoder says it. That is how words and
    numbers agree (content planning apart from wording: Puduppully et al., AAAI 2019).
    """

    thoughts: tuple[tuple[Sentence, ...], ...]
    items: tuple[Sentence, ...]


def outline(plan: StatedPlan, score: float, mode: Mode, voice: int) -> Outline:
    """Return what a critique says where.

    Parameters
    ----------
    plan
        The stated amounts.
    score
        0 to 100.
    mode
        At length or in short.
    voice
        In [0, VOICES): which of the wordings.
    """
    changed = mended(plan, voice)
    told = tuple(plan_word(a, plan[a]) for a in changed)
    own = (voice_word(voice) if mode is Mode.FULL else mode_word(mode),)
    facts = (Sentence(Topic.TEXTURE, own),), (Sentence(Topic.LIGHT, own), Sentence(Topic.COLORS, (mode_word(mode),)))
    thoughts = [
        _assessed(plan, group, fact, mode, voice) for group, fact in zip((QUALITY, COLOR_AND_LIGHT), facts, strict=True)
    ]
    items = tuple(Sentence(Topic.EDIT, (word,), (a,)) for word, a in zip(told, changed, strict=True))
    return Outline(
        (
            *thoughts,
            (Sentence(Topic.COMPOSITION, own),),
            (Sentence(Topic.AESTHETICS, own),),
            (Sentence(Topic.SUMMARY, (score_word(score), *told), changed),),
        ),
        items or (Sentence(Topic.EDIT, ()),),
    )


def mended(plan: StatedPlan, voice: int) -> tuple[Attribute, ...]:
    """Return the attributes that a plan changes, in the order that a voice mends them in."""
    order = (*COLOR_AND_LIGHT, *QUALITY) if voice % 2 else (*QUALITY, *COLOR_AND_LIGHT)
    return tuple(a for a in order if plan[a])


def _assessed(
    plan: StatedPlan, group: tuple[Attribute, ...], facts: tuple[Sentence, ...], mode: Mode, voice: int
) -> tuple[Sentence, ...]:
    """Return the sentences of one of the first two thoughts."""
    faulty = [a for a in group if plan[a]]
    fine, unseen = tuple(a for a in group if plan[a] == 0), tuple(a for a in group if plan[a] is None)
    size = 2 if voice % 4 else 1
    pairs = [tuple(faulty[start : start + size]) for start in range(0, len(faulty), size)]
    faults = tuple(Sentence(Topic.FAULTS, _words(plan, pair), pair) for pair in pairs)
    if mode is Mode.SHORT:
        first = (fine or unseen)[:1]
        return faults or (Sentence(Topic.SOUND, (mode_word(mode), *_words(plan, first)), first),)
    rest = tuple(
        Sentence(topic, _words(plan, some), some)
        for topic, some in ((Topic.FINE, fine), (Topic.UNSEEN, unseen))
        if some
    )
    return (*faults, *facts, *rest) if voice % 3 == 0 else (*facts, *faults, *rest)


def _words(plan: StatedPlan, attributes: tuple[Attribute, ...]) -> tuple[str, ...]:
    return tuple(plan_word(a, plan[a]) for a in attributes)


def mode_word(mode: Mode) -> str:
    """Return the word that asks for a mode."""
    return f"<mode:{mode}>"


def voice_word(voice: int) -> str:
    """Return the word that asks for a voice."""
    return f"<voice:{voice}>"


def score_word(score: float) -> str:
    """Return the word for a score of 0 to 100, in steps of five."""
    return f"<score:{_SCORE_STEP * round(min(max(score, 0.0), 100.0) / _SCORE_STEP)}>"


def plan_word(attribute: Attribute, amount: float | None) -> str:
    """Return the word for an amount on the attribute's ladder, or for "not assessed"."""
    return f"<{attribute}:{'?' if amount is None else f'{amount:+g}' if amount else '0'}>"


PROMPT_WORDS: Final = (
    *(mode_word(mode) for mode in Mode),
    *(voice_word(voice) for voice in range(VOICES)),
    *(score_word(score) for score in range(0, 101, _SCORE_STEP)),
    *(plan_word(a, amount) for a in Attribute for amount in (None, *LADDERS[a])),
)
"""Every word that a prompt can hold."""

AMOUNT: Final = "<amount>"
STOPS_WORD: Final = "<stops>"
"""Words that stand for the amount of the last plan word, as a number, and of the last exposure, in stops: numbers are
copied from the plan and never spelled (pointer networks: Vinyals et al., NeurIPS 2015)."""

HIDDEN_WORDS: Final = frozenset(PROMPT_WORDS)
"""Words that are never shown: they tell the decoder what the next stretch of text is about."""

PROMPT_LENGTH: Final = 3 + len(Attribute)
"""Words of one prompt."""
