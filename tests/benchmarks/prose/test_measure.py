"""The figures of prose: right for a decoder that says what was composed, and low for one that does not."""

from collections.abc import Mapping

import numpy as np
import pytest
from tokenizers import Tokenizer

from pocketcrafter.benchmarks.common.prose import Case, PlanKind
from pocketcrafter.benchmarks.prose import (
    Figures,
    fact_errors,
    greedy_agreement,
    judge,
    likelihood,
    missed_gates,
    summarize,
    table,
)
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.export.train.decoder import encode
from pocketcrafter.export.train.prose.compose import Subject, compose, visible
from pocketcrafter.export.train.prose.facts import Colorfulness, Detail, Facts, Light, Palette
from pocketcrafter.export.train.prose.sampling import random_subject
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.pocket import PROSE_ROWS, PROSE_WORDS, TOKEN_DIM, TOKENS
from pocketcrafter.runtime.prose.parse import parse_prose
from pocketcrafter.runtime.prose.prompt import voice_of
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer

ROOM = TOKENS - 1
"""The logits after position p are of word p − ROOM of the prompt and its critique."""


class Reciter:
    """A decoder that knows one critique by heart; it is wrong at every ``wrong``-th word."""

    def __init__(self, ids: list[int], wrong: int | None = None) -> None:
        self.ids, self.wrong = ids, wrong

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        place = int(inputs["position"].argmax()) - ROOM
        logits = np.zeros((1, PROSE_WORDS), np.float32)
        if 0 <= place < len(self.ids) and not (self.wrong and place % self.wrong == 0):
            logits[0, self.ids[place]] = 20
        rows = np.zeros(PROSE_ROWS, np.float32)
        return {"logits": logits, "key": rows, "value": rows}


@pytest.fixture(scope="module")
def words() -> Words:
    return Words.read(WEIGHTS / TOKENIZER)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(WEIGHTS / TOKENIZER))


def case_of(seed: int) -> tuple[Case, Subject]:
    drawn = random_subject(np.random.default_rng(seed))
    subject = Subject(drawn.plan, drawn.facts, drawn.score, drawn.mode, voice_of(drawn.plan, drawn.score))
    tokens = np.zeros((1, TOKENS, TOKEN_DIM), np.float32)
    return Case(PlanKind.RANDOM, tokens, subject.facts, subject.plan, subject.score, subject.mode), subject


def test_what_was_composed_is_all_right(words: Words, tokenizer: Tokenizer) -> None:
    results = []
    for seed in range(8):
        case, subject = case_of(seed)
        reciter = Reciter(encode(tokenizer, subject))
        result, written = judge(case, Writer(reciter, words))
        assert written is not None
        assert result.text == visible(compose(subject))
        assert greedy_agreement(case, written, reciter, words)[0] > 0
        assert likelihood(case, reciter, tokenizer).perplexity == pytest.approx(1, abs=1e-3)
        results.append(result)
    figures = summarize(results)[PlanKind.RANDOM]
    assert figures.format_valid == figures.faults_agree == figures.edits_agree == figures.facts_true == 1
    assert missed_gates({PlanKind.RANDOM: figures}, 1.0) == []
    assert table({PlanKind.RANDOM: figures}).count("100.0%") == 4


def test_another_plan_is_found_out(words: Words, tokenizer: Tokenizer) -> None:
    """A decoder that tells one plan whatever it is asked: only where the grammar has the say is it right."""
    asked, _ = case_of(1)
    _, told = case_of(2)
    figures = summarize([judge(asked, Writer(Reciter(encode(tokenizer, told)), words))[0]])[PlanKind.RANDOM]
    assert figures.edits_agree == 1
    assert figures.faults_agree < 0.97
    assert any("faults" in missed for missed in missed_gates({PlanKind.RANDOM: figures}, None))


def test_other_choices_are_counted(words: Words, tokenizer: Tokenizer) -> None:
    case, subject = case_of(3)
    ids = encode(tokenizer, subject)
    _, written = judge(case, Writer(Reciter(ids), words))
    assert written is not None
    same, compared = greedy_agreement(case, written, Reciter(ids, wrong=3), words)
    assert 0.4 * compared < same < 0.9 * compared
    assert likelihood(case, Reciter(ids, wrong=3), tokenizer).perplexity > 2
    assert missed_gates({}, same / compared) != []


def test_facts_that_are_told_wrong_are_found() -> None:
    facts = Facts(Light.DARK, Palette.COOL, Colorfulness.MUTED, Detail.LITTLE)
    thoughts = (
        "Texture fills the frame.",
        "The mood of the light is radiant and very warm. Colors are vivid.",
        "",
        "",
        "",
    )
    assert fact_errors(thoughts, facts) == [2, 2, 3, 3]
    thoughts = ("", "This is a very dark picture, and cool colors prevail.", "", "", "")
    assert fact_errors(thoughts, facts) == [1, 0]


def test_a_share_of_nothing_is_whole(words: Words, tokenizer: Tokenizer) -> None:
    case, subject = case_of(1)
    plan = dict.fromkeys(case.plan, 0.0)
    idle = Case(case.kind, case.tokens, case.facts, plan, 80, case.mode)
    ids = encode(tokenizer, Subject(plan, subject.facts, 80, subject.mode, voice_of(plan, 80)))
    figures = summarize([judge(idle, Writer(Reciter(ids), words))[0]])[PlanKind.RANDOM]
    assert isinstance(figures, Figures)
    assert figures.edits_agree == 1
    assert parse_prose(judge(idle, Writer(Reciter(ids), words))[0].text).instructions == ()
