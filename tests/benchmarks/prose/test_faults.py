"""Faults that are worded wrongly are found, each by its attribute and direction."""

from pocketcrafter.benchmarks.common.prose import PlanKind
from pocketcrafter.benchmarks.prose import CaseResult, FaultFigures, fault_figures, fault_table
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.wording import CLAUSES, Fault

GREEN, MAGENTA = (Attribute.TINT, 1), (Attribute.TINT, -1)
NOISE, DARK = (Attribute.DENOISE, 1), (Attribute.EXPOSURE, 1)


def said(planned: tuple[Fault, ...], named: tuple[Fault, ...]) -> CaseResult:
    return CaseResult(kind=PlanKind.RANDOM, valid=True, text="", planned=planned, named=named)


def of(fault: Fault, figures: list[FaultFigures]) -> tuple[int, int, int, int]:
    found = next(f for f in figures if (f.attribute, f.direction) == fault)
    return found.due, found.turned, found.left_out, found.unasked


def test_each_mistake_is_counted_once_and_where_it_belongs() -> None:
    results = [said((MAGENTA, NOISE), (GREEN, NOISE)), said((MAGENTA, NOISE), (MAGENTA, DARK)), said((), (GREEN,))]
    figures = fault_figures(results)
    assert of(MAGENTA, figures) == (2, 1, 0, 0)
    assert of(GREEN, figures) == (0, 0, 0, 1), "what was turned must not count as unasked too"
    assert of(NOISE, figures) == (2, 0, 1, 0)
    assert of(DARK, figures) == (0, 0, 0, 1)
    assert [(f.attribute, f.direction) for f in figures] == list(CLAUSES)


def test_the_table_names_only_what_is_wrong_the_worst_first() -> None:
    assert fault_table(fault_figures([said((NOISE,), (NOISE,))])) == ""
    rows = fault_table(fault_figures([said((MAGENTA, NOISE), ()), said((MAGENTA,), (GREEN,))])).splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["tint_mired -", "denoise +"]
