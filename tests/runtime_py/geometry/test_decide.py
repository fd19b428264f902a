"""The decision: what is ranked, when the original stays, and which reasons are given."""

import pytest

from pocketcrafter.runtime.geometry.decide import (
    COST_OF_AREA,
    LEAST_TURN_DEGREES,
    MARGIN,
    SURE,
    FrameFacts,
    ReasonKind,
    TiltOpinion,
    choose,
    rank,
    reasons,
)
from pocketcrafter.runtime.geometry.proposals import proposals

WIDTH, HEIGHT = 600, 400
CANDIDATES = proposals(WIDTH, HEIGHT)


def test_equal_scores_leave_the_original() -> None:
    ranked = rank(CANDIDATES, [0.3] * len(CANDIDATES), WIDTH * HEIGHT)
    assert ranked[0].box == CANDIDATES[0].box
    assert choose(ranked) is None


def test_a_centered_box_never_wins_however_it_scores() -> None:
    """Only lead over the centered box of the same size counts, so that a size alone earns nothing."""
    scores = [100.0 if c.box == c.reference else 0.0 for c in CANDIDATES]
    assert choose(rank(CANDIDATES, scores, WIDTH * HEIGHT)) is None


def test_a_box_wins_by_its_lead_over_the_centered_one_less_the_cost_of_its_area() -> None:
    index = next(i for i, c in enumerate(CANDIDATES) if c.box != c.reference)
    kept = CANDIDATES[index].box
    cost = COST_OF_AREA * (1 - (kept.right - kept.left) * (kept.bottom - kept.top) / (WIDTH * HEIGHT))
    for lead, wins in ((MARGIN + cost + 0.01, True), (MARGIN + cost - 0.01, False)):
        scores = [lead if i == index else 0.0 for i in range(len(CANDIDATES))]
        ranked = rank(CANDIDATES, scores, WIDTH * HEIGHT)
        assert ranked[0].box == kept
        assert ranked[0].worth == pytest.approx(lead - cost)
        assert (choose(ranked) is not None) is wins


@pytest.mark.parametrize(
    ("degrees", "confidence", "turn"),
    [(4.0, SURE, 4.0), (4.0, SURE - 0.01, 0.0), (LEAST_TURN_DEGREES - 0.01, 1.0, 0.0), (-5.5, 1.0, -5.5)],
)
def test_only_a_sure_and_visible_tilt_is_turned(degrees: float, confidence: float, turn: float) -> None:
    assert TiltOpinion(degrees=degrees, confidence=confidence).turn == turn


def test_severity_grows_with_the_turn_to_one() -> None:
    severities = [TiltOpinion(degrees=d, confidence=1.0).severity for d in (0.2, -2, -3, 4, 12)]
    assert severities == [0.0, 0.0, pytest.approx(0.375), pytest.approx(0.5), 1.0]


def test_reasons_name_only_what_gets_better() -> None:
    before = FrameFacts(center=(0.5, 0.5), to_third=0.24, to_middle=0.0, at_border=0.2, kept=1.0)
    after = FrameFacts(center=(0.35, 0.35), to_third=0.03, to_middle=0.2, at_border=0.05, kept=0.9)
    given = reasons(before, after)
    assert [r.kind for r in given] == [ReasonKind.THIRDS, ReasonKind.BORDER]
    assert "5%" in given[1].words
    assert "20%" in given[1].words
    assert reasons(before, before) == ()
