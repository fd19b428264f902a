"""How true critiques are: statements held against the plan, and faults planted to test the check itself."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

import numpy as np
from pydantic import Field
from tokenizers import Tokenizer

from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.common.prose import Asked, Case, PlanKind, agreeing_choices
from pocketcrafter.export.train.decoder import encode
from pocketcrafter.export.train.prose import phrases as ph
from pocketcrafter.export.train.prose.compose import Subject
from pocketcrafter.export.train.prose.facts import Facts
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.parse import Prose, ProseError
from pocketcrafter.runtime.prose.prompt import PROMPT_LENGTH, PROMPT_WORDS, StatedPlan, voice_of
from pocketcrafter.runtime.prose.tokenizer import Mark, Words
from pocketcrafter.runtime.prose.wording import CLAUSES, Fault
from pocketcrafter.runtime.prose.writer import Steps, Writer, Written

_Level = TypeVar("_Level", bound=IntEnum)
_MOODS: Final = [template.split("{light}")[0] for template in ph.MOODS]

MIN_FORMAT: Final = 0.995
MIN_AGREEMENT: Final = 0.97
MIN_GREEDY: Final = 0.98
GREEDY_WORDS: Final = 64
"""Choices of a critique that are compared across backends."""


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
        _, opened, rest = text.partition(opening.lower())
        if not opened:
            continue
        light, _, palette = rest.split(".")[0].partition(" and ")
        yield from (abs(level - facts.light) for level, mood in ph.MOOD_OF_LIGHT.items() if mood == light)
        yield from (abs(level - facts.palette) for level, mood in ph.MOOD_OF_PALETTE.items() if mood == palette)


class CaseResult(Config):
    """One critique."""

    kind: PlanKind
    valid: bool = Field(description="Parsed, with no instruction that was not understood.")
    text: str
    planned: tuple[Fault, ...] = Field(description="Faults and directions of the plan.")
    named: tuple[Fault, ...] = Field((), description="Those that the thoughts name.")
    edits_right: int = Field(0, description="Instructions whose attribute, direction and amount are the plan's.")
    edits_all: int = 0
    facts_right: int = Field(0, description="Facts told as measured, or one step beside on a scale.")
    facts_all: int = 0
    ms_per_token: float = 0.0
    tokens: int = 0


class Figures(Config):
    """Shares over critiques of one kind of plan."""

    critiques: int
    format_valid: float
    faults_agree: float = Field(description="Faults that thoughts and plan share, of all that either has.")
    edits_agree: float = Field(description="Likewise instructions, with their amounts.")
    facts_true: float
    tokens_per_second: float
    mean_tokens: float


@dataclass(frozen=True)
class Likelihood:
    """How well the decoder expects the text that was composed for it."""

    perplexity: float
    words: int


def judge(case: Case, writer: Writer) -> tuple[CaseResult, Written | None]:
    """Write one critique and hold it against its plan and facts."""
    planned = faults_of(case.plan)
    try:
        written = writer.write(case.tokens, case.plan, case.score, case.mode)
    except ProseError as error:
        return CaseResult(kind=case.kind, valid=False, text=str(error), planned=_ordered(planned)), None
    prose = written.prose
    named = {(fault.attribute, fault.direction) for fault in prose.faults}
    edits = {(s.attribute, s.direction, s.amount) for s in prose.instructions}
    wanted = {(a, d, abs(case.plan[a] or 0.0)) for a, d in planned}
    facts = fact_errors(prose.thoughts, case.facts)
    return CaseResult(
        kind=case.kind,
        valid=_is_valid(prose, len(planned)),
        text=prose.text,
        planned=_ordered(planned),
        named=_ordered(named),
        edits_right=len(edits & wanted),
        edits_all=len(edits | wanted),
        facts_right=sum(error <= 1 for error in facts),
        facts_all=len(facts),
        ms_per_token=written.ms_per_token,
        tokens=len(written.ids),
    ), written


def faults_of(plan: StatedPlan) -> set[Fault]:
    """Return the faults that a plan mends."""
    return {(a, 1 if amount > 0 else -1) for a, amount in plan.items() if amount}


def summarize(results: Sequence[CaseResult]) -> dict[PlanKind, Figures]:
    """Return the figures of each kind of plan that occurs; a share of nothing is 1."""
    found = {}
    for kind in PlanKind:
        if not (chosen := [r for r in results if r.kind is kind]):
            continue
        found[kind] = Figures(
            critiques=len(chosen),
            format_valid=sum(r.valid for r in chosen) / len(chosen),
            faults_agree=_share((len({*r.planned} & {*r.named}), len({*r.planned} | {*r.named})) for r in chosen),
            edits_agree=_share((r.edits_right, r.edits_all) for r in chosen),
            facts_true=_share((r.facts_right, r.facts_all) for r in chosen),
            tokens_per_second=1000 / max(1e-9, float(np.mean([r.ms_per_token for r in chosen if r.valid] or [np.inf]))),
            mean_tokens=float(np.mean([r.tokens for r in chosen])),
        )
    return found


def greedy_agreement(case: Case, written: Written, other: Session, words: Words) -> tuple[int, int]:
    """Count the choices of a critique that another backend makes too, given the same words before them.

    Parameters
    ----------
    case
        What the critique was asked for.
    written
        What the first decoder wrote.
    other
        The other decoder.
    words
        The vocabulary of both.

    Returns
    -------
    tuple
        Choices that agree, and choices compared: the first `GREEDY_WORDS` of them.
    """
    asked = Asked(case.tokens, case.plan, case.score, case.mode)
    return agreeing_choices(asked, written.ids, other, words, GREEDY_WORDS)


def likelihood(case: Case, session: Session, tokenizer: Tokenizer) -> Likelihood:
    """Return the perplexity of the critique composed for a case, over the words that a decoder chooses.

    Parameters
    ----------
    case
        The frame's tokens and facts, plan, score and mode.
    session
        The decoder.
    tokenizer
        Of the decoder.
    """
    voice = voice_of(case.plan, case.score)
    ids = encode(tokenizer, Subject(case.plan, case.facts, case.score, case.mode, voice))
    steps, loss, count = Steps(session), 0.0, 0
    logits = steps.prompt(case.tokens, ids[:PROMPT_LENGTH])
    for word in ids[PROMPT_LENGTH:]:
        if not len(Mark) <= word < len(Mark) + len(PROMPT_WORDS):
            wide = logits.astype(np.float64)
            loss += float(np.logaddexp.reduce(wide) - wide[word])
            count += 1
        logits = steps.take(word)
    return Likelihood(float(np.exp(loss / count)), count)


def missed_gates(figures: Mapping[PlanKind, Figures], greedy: float | None) -> list[str]:
    """Return the gates that are not met, in words."""
    missed = []
    for kind, f in figures.items():
        for name, value, gate in (
            ("format", f.format_valid, MIN_FORMAT),
            ("faults", f.faults_agree, MIN_AGREEMENT),
            ("edits", f.edits_agree, MIN_AGREEMENT),
        ):
            if value < gate:
                missed.append(f"{kind} {name} ≥ {gate:.1%} (is {value:.1%})")
    if greedy is not None and greedy < MIN_GREEDY:
        missed.append(f"greedy agreement ≥ {MIN_GREEDY:.0%} (is {greedy:.1%})")
    return missed


def table(figures: Mapping[PlanKind, Figures]) -> str:
    """Return the figures as a Markdown table, a row a kind of plan."""
    head = "| plan | critiques | format | faults agree | edits agree | facts true | tokens | tokens/s |"
    rows = [
        f"| {kind} | {f.critiques} | {f.format_valid:.1%} | {f.faults_agree:.1%} | {f.edits_agree:.1%} "
        f"| {f.facts_true:.1%} | {f.mean_tokens:.0f} | {f.tokens_per_second:.0f} |"
        for kind, f in figures.items()
    ]
    return "\n".join([head, "|---" * 8 + "|", *rows])


def _ordered(faults: set[Fault]) -> tuple[Fault, ...]:
    return tuple(fault for fault in CLAUSES if fault in faults)


def _is_valid(prose: Prose, faults: int) -> bool:
    return not prose.unread and len(prose.instructions) == faults


def _share(pairs: Iterable[tuple[int, int]]) -> float:
    right, total = (sum(column) for column in zip(*pairs, strict=True))
    return right / total if total else 1.0


class FaultFigures(Config):
    """One attribute and direction over critiques."""

    attribute: Attribute
    direction: int = Field(ge=-1, le=1, description="Sign of the change that mends it.")
    due: int = Field(ge=0, description="Critiques whose plan has it.")
    turned: int = Field(ge=0, description="Of these, told as the attribute's other direction.")
    left_out: int = Field(ge=0, description="Of these, told in neither direction.")
    unasked: int = Field(ge=0, description="Critiques that tell it though their plan leaves the attribute alone.")

    @property
    def wrong(self) -> int:
        """Critiques that are wrong about it."""
        return self.turned + self.left_out + self.unasked


def fault_figures(results: Iterable[CaseResult]) -> list[FaultFigures]:
    """Return the figures of every fault that prose has words for, in their order; malformed critiques say none."""
    due, turned, left_out, unasked = (Counter[tuple[Attribute, int]]() for _ in range(4))
    for result in results:
        planned, named = set(result.planned), set(result.named)
        due.update(planned)
        for attribute, direction in planned - named:
            (turned if (attribute, -direction) in named else left_out)[attribute, direction] += 1
        changed = {attribute for attribute, _ in planned}
        unasked.update(fault for fault in named if fault[0] not in changed)
    return [
        FaultFigures(
            attribute=fault[0],
            direction=fault[1],
            due=due[fault],
            turned=turned[fault],
            left_out=left_out[fault],
            unasked=unasked[fault],
        )
        for fault in CLAUSES
    ]


def fault_table(figures: Sequence[FaultFigures]) -> str:
    """Return the faults that are ever wrong as a Markdown table, the worst first, or nothing where none is."""
    wrong = sorted((f for f in figures if f.wrong), key=lambda f: -f.wrong)
    rows = [
        (f"{f.attribute} {'+' if f.direction > 0 else '-'}", *map(str, (f.due, f.turned, f.left_out, f.unasked)))
        for f in wrong
    ]
    return markdown(("worded wrongly", "due", "told the other way", "left out", "unasked"), rows) if rows else ""
