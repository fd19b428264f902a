"""Composed critiques say the plan they are composed from, all of it and nothing else."""

import re

import numpy as np
import pytest

from pocketcrafter.export.train.prose import phrases as ph
from pocketcrafter.export.train.prose.compose import Subject, compose, visible
from pocketcrafter.export.train.prose.facts import Colorfulness, Detail, Facts, Light, Palette
from pocketcrafter.export.train.prose.sampling import random_subject
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.parse import named_faults, parse_prose
from pocketcrafter.runtime.prose.prompt import LADDERS, VOICES
from pocketcrafter.runtime.prose.wording import CLAUSE_PATTERNS, CLAUSES

FACTS = Facts(Light.DARK, Palette.WARM, Colorfulness.VIVID, Detail.RICH)


def everything() -> list[Subject]:
    """Every attribute, amount and voice, one at a time, and many random plans."""
    single = [
        Subject(dict.fromkeys(Attribute, 0.0) | {a: amount}, FACTS, 55, Mode.FULL, voice)
        for a in Attribute
        for amount in LADDERS[a]
        for voice in range(VOICES)
    ]
    rng = np.random.default_rng(5)
    return single + [random_subject(rng) for _ in range(1500)]


def test_read_back_a_critique_is_its_plan() -> None:
    for subject in everything():
        prose = parse_prose(visible(compose(subject)))
        plan = {(a, 1 if x > 0 else -1, abs(x)) for a, x in subject.plan.items() if x}
        assert {(i.attribute, i.direction, i.amount) for i in prose.instructions} == plan
        assert {(f.attribute, f.direction) for f in prose.faults} == {(a, d) for a, d, _ in plan}
        assert prose.unread == ()
        assert prose.score == round(subject.score)


def test_the_wording_is_plain_and_complete() -> None:
    for subject in everything():
        text = visible(compose(subject))
        assert text.isascii()
        assert not re.search(r"[{}]|  |\.\.|<[a-z]+:", text), text
        assert all(re.match(r"[A-Z]", thought) for thought in parse_prose(text).thoughts)


def test_what_was_not_assessed_is_said_and_never_judged() -> None:
    unseen = dict.fromkeys(Attribute)
    for voice in range(VOICES):
        thoughts = parse_prose(visible(compose(Subject(unseen, FACTS, 50, Mode.FULL, voice)))).thoughts
        for index in (2, 3):
            assert re.search(r"not assessed|no judgment", thoughts[index], re.IGNORECASE)
        assert "exposure" in thoughts[1].lower()
        assert not re.search(r"need|call|correct", thoughts[0] + thoughts[1])


def test_no_phrase_without_a_fault_reads_like_one() -> None:
    tables = (ph.LIGHT, ph.PALETTE, ph.COLORS, ph.DETAIL, ph.VERDICTS, ph.STEPS)
    phrases = [
        *(p for table in tables for choices in table.values() for p in choices),
        *ph.MOODS, *ph.NO_COMPOSITION, *ph.NO_AESTHETICS, *ph.SOUND, *ph.UNSEEN, *ph.UNSURE, *ph.NOTHING_TO_DO,
    ]  # fmt: skip
    assert named_faults(phrases) == []


def test_every_clause_is_of_one_fault_only() -> None:
    for fault, clauses in CLAUSES.items():
        for clause in clauses:
            said = re.sub(r"\{(\w+)\}", lambda gap: _FILLED[gap[1]], clause)
            assert [other for other, pattern in CLAUSE_PATTERNS.items() if pattern.search(said)] == [fault]


_FILLED = {
    "adv": "clearly", "very": "rather", "far": "far", "cast": "a clear", "veil": "a thin", "much": "visible",
    "blocks": "heavy", "stops": "half a stop",
}  # fmt: skip


@pytest.mark.parametrize("mode", Mode)
def test_voices_word_the_same_findings_differently(mode: Mode) -> None:
    plan = dict.fromkeys(Attribute, 0.0) | {Attribute.EXPOSURE: 0.8, Attribute.DENOISE: 0.3}
    texts = {compose(Subject(plan, FACTS, 50, mode, voice)) for voice in range(VOICES)}
    assert len(texts) == VOICES


def test_short_is_shorter() -> None:
    plan = dict.fromkeys(Attribute, 0.0) | {Attribute.EXPOSURE: 0.8}
    for voice in range(VOICES):
        full, short = (visible(compose(Subject(plan, FACTS, 50, mode, voice))) for mode in (Mode.FULL, Mode.SHORT))
        assert len(short) < 0.6 * len(full)
