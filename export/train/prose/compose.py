"""Composes a critique from facts, plan, score, mode and voice: the same ones always give the same text."""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pocketcrafter.export.train.prose import phrases as ph
from pocketcrafter.export.train.prose.facts import Facts
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose import wording as wd
from pocketcrafter.runtime.prose.prompt import COLOR_AND_LIGHT, HIDDEN_WORDS, QUALITY, Mode, StatedPlan, mended, outline
from pocketcrafter.runtime.prose.tokenizer import Mark

_HIDDEN: Final = re.compile("|".join(map(re.escape, sorted(HIDDEN_WORDS))))
_JOINERS: Final = (", and ", "; ", ", and ")
_CLAUSES_A_SENTENCE: Final = 2
_STEP_TEMPLATES: Final = {1: ph.ONE_STEP, 2: ph.TWO_STEPS, 3: ph.THREE_STEPS}
_SINGULAR: Final = {"need": "needs", "call": "calls", "were": "was"}


@dataclass(frozen=True)
class Subject:
    """What a critique is about."""

    plan: StatedPlan
    facts: Facts
    score: float
    mode: Mode
    voice: int


def compose(subject: Subject) -> str:
    """Return the critique: five numbered thoughts, the edit block, and the score rounded to a whole number.

    Hidden words stand in it, where the outline has them; `shown` is what people see.
    """
    return _Composer(subject).text()


def shown(critique: str) -> str:
    """Return a critique without its hidden words."""
    return _HIDDEN.sub("", critique)


class _Composer:
    """Chooses every wording by the voice and the place it stands in, so that it can be learned."""

    def __init__(self, subject: Subject) -> None:
        self.about = subject
        self.full = subject.mode is Mode.FULL
        self.told = outline(subject.plan, subject.score, subject.voice)
        mends = mended(subject.plan, subject.voice)
        self.faults = [(a, 1 if (subject.plan[a] or 0) > 0 else -1) for a in mends]

    def text(self) -> str:
        thoughts = [self._quality(), self._color_and_light(), *self._unmeasured(), self._summary()]
        hidden = ["".join(words) for words in (self.told.quality, self.told.color, (), (), self.told.summary)]
        numbered = [f"{mark}{words}{text}" for mark, words, text in zip(Mark.parts(), hidden, thoughts, strict=True)]
        topics = self.told.items or ("",)
        lines = [f"{Mark.ITEM}{word}{line}" for word, line in zip(topics, self._instructions(), strict=True)]
        answer = f"{round(self.about.score)}"
        return "".join(
            [Mark.THINK, *numbered, Mark.END_THINK, Mark.EDIT, *lines, Mark.END_EDIT, Mark.ANSWER, answer, Mark.END]
        )

    def _quality(self) -> str:
        faults = self._sentences([f for f in self.faults if f[0] in QUALITY])
        detail = [self._pick("detail", ph.DETAIL[self.about.facts.detail])]
        return self._group("quality", QUALITY, detail, faults)

    def _color_and_light(self) -> str:
        faults = self._sentences([f for f in self.faults if f[0] in COLOR_AND_LIGHT])
        return self._group("color", COLOR_AND_LIGHT, list(self._light()), faults)

    def _group(self, slot: str, members: Sequence[Attribute], facts: list[str], faults: list[str]) -> str:
        fine = [a for a in members if self.about.plan[a] == 0]
        unseen = [a for a in members if self.about.plan[a] is None]
        if not self.full:
            if faults:
                return " ".join(faults)
            return self._pick(f"{slot} short", ph.SOUND if fine else ph.UNSEEN)
        rest = [*self._listed("fine", slot, ph.FINE, fine), *self._listed("unseen", slot, ph.NOT_ASSESSED, unseen)]
        first, second = (faults, facts) if self.about.voice % 3 == 0 else (facts, faults)
        return " ".join([*first, *second, *rest])

    def _light(self) -> Iterator[str]:
        facts = self.about.facts
        if self.about.voice % 2:
            palette = self._pick("palette", ph.PALETTE[facts.palette])
            yield f"{self._pick('light', ph.LIGHT[facts.light])}, and {palette}."
        else:
            yield self._pick("mood", ph.MOODS).format(
                light=ph.MOOD_OF_LIGHT[facts.light], palette=ph.MOOD_OF_PALETTE[facts.palette]
            )
        yield self._pick("colors", ph.COLORS[facts.colorfulness])

    def _unmeasured(self) -> tuple[str, str]:
        if self.full:
            return self._pick("composition", ph.NO_COMPOSITION), self._pick("aesthetics", ph.NO_AESTHETICS)
        return self._pick("composition short", ph.NOT_ASSESSED_SHORT), self._pick("taste short", ph.NOT_ASSESSED_SHORT)

    def _summary(self) -> str:
        unsure = self.about.score < ph.UNSURE_BELOW
        steps = [self._pick(f"step {fault}", ph.STEPS[fault]) for fault in self.faults]
        named = dict(zip(("first", "second", "third"), steps, strict=False))
        if not self.full:
            if not steps:
                return self._pick("idle", ph.UNSURE_SHORT if unsure else ph.NOTHING_TO_DO_SHORT)
            return _capitalized(ph.STEPS_SHORT.get(len(steps), ph.MORE_STEPS_SHORT).format(**named))
        level = sum(self._score_step() >= edge for edge in ph.VERDICT_EDGES)
        verdict = self._pick("verdict", ph.VERDICTS[level])
        if not steps:
            return f"{verdict}, {self._pick('idle', ph.UNSURE if unsure else ph.NOTHING_TO_DO)}."
        templates = _STEP_TEMPLATES.get(len(steps), ph.MORE_STEPS)
        return self._pick("steps", templates).format(verdict=verdict, step=steps[0], **named)

    def _score_step(self) -> float:
        return 5 * round(self.about.score / 5)

    def _sentences(self, faults: Sequence[wd.Fault]) -> list[str]:
        clauses = [self._clause(fault) for fault in faults]
        size = _CLAUSES_A_SENTENCE if self.about.voice % 4 else 1
        groups = [clauses[start : start + size] for start in range(0, len(clauses), size)]
        return [f"{_capitalized(self._pick('joiner', _JOINERS).join(group))}." for group in groups]

    def _clause(self, fault: wd.Fault) -> str:
        amount = self.about.plan[fault[0]] or 0.0
        strength = wd.strength_of(fault[0], amount)
        template = self._pick(f"clause {fault}", wd.CLAUSES[fault])
        fillers = {name: self._pick(f"{name} {strength}", words[strength]) for name, words in wd.FILLERS.items()}
        return template.format(stops=wd.STOPS.get(abs(amount), ""), **fillers)

    def _instructions(self) -> list[str]:
        if not self.faults:
            return [self._pick("no change", wd.NO_CHANGE)]
        return [
            self._pick(f"instruction {fault}", wd.INSTRUCTIONS[fault]).format(
                amount=wd.amount_text(self.about.plan[fault[0]] or 0.0)
            )
            for fault in self.faults
        ]

    def _listed(self, what: str, slot: str, templates: Sequence[str], attributes: Sequence[Attribute]) -> list[str]:
        if not attributes:
            return []
        many = len(attributes) > 1 or attributes[0] in ph.PLURALS
        names = [ph.NAMES[a] for a in attributes]
        verbs = {"need": "need", "call": "call", "were": "were"} if many else _SINGULAR
        template = self._pick(f"{what} {slot}", templates)
        return [template.format(All=_capitalized(_listed(names, "and")), any=_listed(names, "or"), **verbs)]

    def _pick(self, slot: str, choices: Sequence[str]) -> str:
        return choices[(self.about.voice + zlib.crc32(slot.encode())) % len(choices)]


def _listed(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else words[0]


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
