"""The one judge: a gate is kept, missed, or was never measured, and its text is made from it."""

import pytest
from pydantic import ValidationError

from pocketcrafter.runtime.bundle.gates import Figure, Gate, Metric, judge
from pocketcrafter.runtime.bundle.results import Fidelity, Rung, sqnr_gate


def ratio(value: float | None, of: str = "x") -> Figure:
    return Figure(metric=Metric.SQNR_DB, value=value, of=of)


@pytest.mark.parametrize(
    ("figures", "passed"),
    [([40.0], True), ([39.9], False), ([None], True), ([None, 41.0, 39.0], False), ([], None)],
)
def test_every_figure_must_keep_the_bound(figures: list[float | None], passed: bool | None) -> None:
    assert judge([ratio(value) for value in figures], sqnr_gate(40)).passed is passed


def test_figures_of_another_metric_say_nothing() -> None:
    assert judge([Figure(metric=Metric.PSNR_DB, value=1)], sqnr_gate(40)).passed is None


def test_a_maximum_is_missed_from_above() -> None:
    gate = Gate(metric=Metric.DELTA_E_MEAN, maximum=1)
    assert judge([Figure(metric=Metric.DELTA_E_MEAN, value=1.0)], gate).passed
    assert judge([Figure(metric=Metric.DELTA_E_MEAN, value=1.1)], gate).passed is False


def test_the_sentence_is_made_from_the_gate() -> None:
    verdict = judge([ratio(39.94, "grid"), ratio(50, "scene")], sqnr_gate(40))
    assert str(verdict) == "SQNR of `grid` 39.94 dB, the gate is SQNR >= 40 dB"
    assert str(Gate(metric=Metric.TOKEN_AGREEMENT, minimum=0.99)) == "equal greedy tokens >= 99%"
    assert str(Gate(metric=Metric.DELTA_E_WORST, maximum=3)) == "ΔE2000 worst <= 3"


@pytest.mark.parametrize("bounds", [{}, {"minimum": 1, "maximum": 2}])
def test_a_gate_has_one_bound(bounds: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="either a minimum or a maximum"):
        Gate(metric=Metric.SSIM, **bounds)


def test_a_rung_cannot_say_passed_against_its_own_figures() -> None:
    far = Fidelity(output="grid", sqnr_db=12, cosine=1, max_abs_error=1)
    with pytest.raises(ValidationError, match="says passed, but: SQNR of `grid` 12 dB"):
        Rung(rung=2, passed=True, how="on this host", gates=(sqnr_gate(40),), fidelity=(far,))
    assert Rung.judged(2, "on this host", (sqnr_gate(40),), fidelity=(far,)).passed is False
    assert Rung.judged(2, "on this host", (sqnr_gate(40),)).passed is None
