"""Composes a critique from facts, plan, score, mode and voice: the same ones always give the same text."""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pocketcrafter.export.train.prose import phrases as ph
from pocketcrafter.export.train.prose.facts import Facts
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose import wording as wd
from pocketcrafter.runtime.prose.prompt import AMOUNT, QUALITY, STOPS_WORD, Sentence, StatedPlan, Topic, outline
from pocketcrafter.runtime.prose.tokenizer import SPECIAL_WORDS, Mark, shown

_SPECIAL: Final = re.compile(f"({'|'.join(map(re.escape, SPECIAL_WORDS))})")
_JOINERS: Final = (", and ", "; ", ", and ")
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

    Hidden words stand in it, where the outline has them, and words for amounts; `visible` is what people see.
    """
    return _Composer(subject).text()


def visible(critique: str) -> str:
    """Return what people see of a critique."""
    return shown(_SPECIAL.split(critique))


class _Composer:
    """Chooses every wording by the voice and the place it stands in, so that it can be learned."""

    def __init__(self, subject: Subject) -> None:
        self.about = subject
        self.full = subject.mode is Mode.FULL
        self.told = outline(subject.plan, subject.score, subject.mode, subject.voice)

    def text(self) -> str:
        thoughts = [f"{mark}{self._thought(said)}" for mark, said in zip(Mark.parts(), self.told.thoughts, strict=True)]
        items = [f"{Mark.ITEM}{''.join(item.words)}{self._sentence(item)}" for item in self.told.items]
        answer = f"{round(self.about.score)}"
        return "".join(
            [Mark.THINK, *thoughts, Mark.END_THINK, Mark.EDIT, *items, Mark.END_EDIT, Mark.ANSWER, answer, Mark.END]
        )

    def _thought(self, sentences: Sequence[Sentence]) -> str:
        told = [("".join(sentence.words), self._sentence(sentence)) for sentence in sentences]
        return "".join(f"{words}{' ' if index else ''}{text}" for index, (words, text) in enumerate(told))

    def _sentence(self, said: Sentence) -> str:
        return _WRITERS[said.topic](self, said)

    def texture(self, _said: Sentence) -> str:
        return self._pick("detail", ph.DETAIL[self.about.facts.detail])

    def light(self, _said: Sentence) -> str:
        facts = self.about.facts
        if self.about.voice % 2:
            palette = self._pick("palette", ph.PALETTE[facts.palette])
            return f"{self._pick('light', ph.LIGHT[facts.light])}, and {palette}."
        return self._pick("mood", ph.MOODS).format(
            light=ph.MOOD_OF_LIGHT[facts.light], palette=ph.MOOD_OF_PALETTE[facts.palette]
        )

    def colors(self, _said: Sentence) -> str:
        return self._pick("colors", ph.COLORS[self.about.facts.colorfulness])

    def faults(self, said: Sentence) -> str:
        clauses = [self._clause(self._fault(a)) for a in said.attributes]
        return f"{_capitalized(self._pick('joiner', _JOINERS).join(clauses))}."

    def fine(self, said: Sentence) -> str:
        return self._listing("fine", ph.FINE, said.attributes)

    def unseen(self, said: Sentence) -> str:
        return self._listing("unseen", ph.NOT_ASSESSED, said.attributes)

    def sound(self, said: Sentence) -> str:
        unseen = self.about.plan[said.attributes[0]] is None
        return self._pick(f"{_slot(said.attributes)} short", ph.UNSEEN if unseen else ph.SOUND)

    def composition(self, _said: Sentence) -> str:
        return self._pick("composition", ph.NO_COMPOSITION if self.full else ph.NOT_ASSESSED_SHORT)

    def aesthetics(self, _said: Sentence) -> str:
        return self._pick("aesthetics", ph.NO_AESTHETICS if self.full else ph.NOT_ASSESSED_SHORT)

    def summary(self, said: Sentence) -> str:
        return self._summary([self._fault(a) for a in said.attributes])

    def _fault(self, attribute: Attribute) -> wd.Fault:
        return attribute, 1 if (self.about.plan[attribute] or 0) > 0 else -1

    def _summary(self, faults: Sequence[wd.Fault]) -> str:
        unsure = self.about.score < ph.UNSURE_BELOW
        steps = [self._pick(f"step {fault}", ph.STEPS[fault]) for fault in faults]
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

    def _clause(self, fault: wd.Fault) -> str:
        amount = self.about.plan[fault[0]] or 0.0
        strength = wd.strength_of(fault[0], amount)
        template = self._pick(f"clause {fault}", wd.CLAUSES[fault])
        fillers = {name: self._pick(f"{name} {strength}", words[strength]) for name, words in wd.FILLERS.items()}
        return template.format(stops=STOPS_WORD, **fillers)

    def edit(self, item: Sentence) -> str:
        if not item.attributes:
            return self._pick("no change", wd.NO_CHANGE)
        fault = self._fault(item.attributes[0])
        template = self._pick(f"instruction {fault}", wd.INSTRUCTIONS[fault])
        return template.format(amount=AMOUNT)

    def _listing(self, what: str, templates: Sequence[str], attributes: Sequence[Attribute]) -> str:
        many = len(attributes) > 1 or attributes[0] in ph.PLURALS
        names = [ph.NAMES[a] for a in attributes]
        verbs = {"need": "need", "call": "call", "were": "were"} if many else _SINGULAR
        template = self._pick(f"{what} {_slot(attributes)}", templates)
        return template.format(All=_capitalized(_listed(names, "and")), any=_listed(names, "or"), **verbs)

    def _pick(self, slot: str, choices: Sequence[str]) -> str:
        return choices[(self.about.voice + zlib.crc32(slot.encode())) % len(choices)]


def _listed(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else words[0]


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _slot(attributes: Sequence[Attribute]) -> str:
    """Return which of the first two thoughts attributes belong to: each words its lists in its own way."""
    return "quality" if attributes[0] in QUALITY else "color"


_WRITERS: Final[Mapping[Topic, Callable[[_Composer, Sentence], str]]] = {
    Topic.TEXTURE: _Composer.texture,
    Topic.LIGHT: _Composer.light,
    Topic.COLORS: _Composer.colors,
    Topic.FAULTS: _Composer.faults,
    Topic.FINE: _Composer.fine,
    Topic.UNSEEN: _Composer.unseen,
    Topic.SOUND: _Composer.sound,
    Topic.COMPOSITION: _Composer.composition,
    Topic.AESTHETICS: _Composer.aesthetics,
    Topic.SUMMARY: _Composer.summary,
    Topic.EDIT: _Composer.edit,
}
