"""The judge of proposals: what it chooses from, what it learns, and how its choice is measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pocketcrafter.export.models.critic import FORESEEABLE, Judgement
from pocketcrafter.export.models.plan_judge import QUANTILES, PlanJudge
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, fit, quantile_loss
from pocketcrafter.export.train.gate_frames import JudgedFrames, Kind, kinds_of
from pocketcrafter.export.train.judge import (
    JudgeTask,
    draw_shares,
    judge_proposals,
    judged_gains,
    order_loss,
)
from pocketcrafter.export.train.judge_frames import JudgeConfig, JudgeStore, build_judge_store, outcomes
from pocketcrafter.export.train.plan_proposals import SHIPPED
from pocketcrafter.export.train.risk import RiskPoint, boldest_allowed, chosen, judge_curve, risk_point
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import TONAL, Attribute, EditPlan
from pocketcrafter.runtime.plan_judge import PROPOSALS

CPU = torch.device("cpu")
CONFIG = JudgeConfig(critic_sha256="0" * 64, frames_sha256="1" * 64)
WHOLE = next(n for n, p in enumerate(SHIPPED) if len(p.attributes) == 6 and (p.dead_zone, p.strength) == (0, 1))
"""The proposal that is the whole plan."""


@pytest.fixture
def knowing(store: EvidenceStore, judged: Judgement) -> Judgement:
    """A critic that is right on even rows, and says the contrary of the truth on odd ones."""
    truth = torch.from_numpy(np.array(store.plans))
    right = torch.arange(len(truth))[:, None] % 2 == 0
    tokens = judged.tokens + right[:, :, None]
    return judged._replace(plan=torch.where(right, truth, -truth), presence=(truth != 0).float(), tokens=tokens)


@pytest.fixture
def proposals(store: EvidenceStore, knowing: Judgement, tmp_path: Path) -> JudgeStore:
    return build_judge_store(tmp_path / "proposals", store, knowing, np.arange(len(store)), CONFIG)


def test_the_proposals_that_ship_are_parts_of_what_a_critic_can_foresee() -> None:
    assert {a for p in SHIPPED for a in p.attributes} == {a for a in TONAL if a in FORESEEABLE}
    assert len(set(SHIPPED)) == len(SHIPPED) == PROPOSALS


def test_outcomes_are_those_of_each_plan_alone(store: EvidenceStore) -> None:
    truth = torch.from_numpy(np.array(store.plans[:6]))
    plans = torch.stack([truth, torch.zeros_like(truth), truth, -truth], 1)
    views, cleans = np.array(store.small_views[:6]), np.array(store.small_cleans[:6])
    gains, likeness = outcomes(plans, views, cleans)
    np.testing.assert_allclose(gains[:, 1], 0, atol=1e-4)
    assert likeness[:, 1].min() > 80, "a plan of nothing changes nothing"
    np.testing.assert_array_equal(gains[:, 0], gains[:, 2])
    for row in range(6):
        for column in range(4):
            alone = outcomes(plans[row : row + 1, column : column + 1], views[row : row + 1], cleans[row : row + 1])
            assert alone[0].item() == pytest.approx(gains[row, column], abs=1e-3)
            assert alone[1].item() == pytest.approx(likeness[row, column], abs=1e-2)
    tonal = kinds_of(np.array(store.plans[:6])) == Kind.DEGRADED
    assert gains[tonal, 0].mean() > max(1, gains[tonal, 3].mean() + 1), "the truth mends, its contrary does not"


def test_an_interrupted_store_goes_on_and_another_critics_is_refused(
    store: EvidenceStore, knowing: Judgement, tmp_path: Path
) -> None:
    folder = tmp_path / "proposals"
    build_judge_store(folder, store, knowing, np.arange(len(store)), CONFIG)
    done = np.load(folder / "done.npy", "r+")
    gains = np.load(folder / "gains.npy", "r+")
    expected = np.array(gains)
    done[:], gains[:] = False, 0
    done.flush()
    seen: list[int] = []
    again = build_judge_store(folder, store, knowing, np.arange(len(store)), CONFIG, seen.append)
    np.testing.assert_array_equal(again.gains, expected)
    assert sum(seen) == len(store)
    other = CONFIG.model_copy(update={"critic_sha256": "2" * 64})
    with pytest.raises(ConfigError, match="another configuration"):
        build_judge_store(folder, store, knowing, np.arange(len(store)), other)


def test_quantiles_rise_whatever_the_weights() -> None:
    torch.manual_seed(0)
    model = PlanJudge().eval()
    pictures = torch.rand(2, 7, 3, 32, 32)
    said = model(*pictures, torch.randn(7, len(Attribute)), 5 * torch.randn(7, 4, 64))
    assert said.shape == (7, len(QUANTILES))
    assert (said.diff(dim=1) >= 0).all()


def test_the_quantile_loss_is_lowest_at_the_quantiles() -> None:
    true = torch.linspace(0, 1, 1001)
    best = torch.tensor(QUANTILES)
    right = quantile_loss(best.expand(1001, 3), true, QUANTILES)
    for shift in (-0.1, 0.1):
        for column in range(3):
            wrong = best.clone()
            wrong[column] += shift
            assert quantile_loss(wrong.expand(1001, 3), true, QUANTILES) > right + 1e-3


def test_the_order_loss_wants_the_better_first_and_leaves_equals_alone() -> None:
    true = torch.tensor([[3.0, 0.0, 0.2]])
    assert order_loss(torch.tensor([[2.0, -2.0, -2.0]]), true) < order_loss(torch.tensor([[-2.0, 2.0, 2.0]]), true)
    equal = torch.tensor([[0.0, 0.1, 0.2]])
    assert order_loss(torch.tensor([[9.0, 0.0, -9.0]]), equal) == 0


def test_a_trained_judge_tells_a_right_proposal_from_its_contrary(proposals: JudgeStore, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = FitSettings(steps=150, batch=12, learning_rate=3e-3, warmup=10, ema=0.9)
    model = PlanJudge()
    even = np.full(len(proposals), 1 / len(proposals))
    judge = fit(JudgeTask(model, proposals, even, settings, CPU), settings, tmp_path / "fit")
    said = judge_proposals(judge, proposals)
    gains = np.array(proposals.gains[:, :PROPOSALS])
    which, rows = chosen(said, 0.0), np.arange(len(gains))
    carried = np.where(which >= 0, gains[rows, which], 0)
    assert carried.mean() > 0.5 * np.maximum(gains.max(1), 0).mean() > 0
    assert carried.min() > -2
    assert gains[rows, 1].min() < -5, "what it turned down would have done harm"


def test_batches_do_not_depend_on_who_shares_them(proposals: JudgeStore) -> None:
    torch.manual_seed(0)
    model = PlanJudge().eval()
    said = judge_proposals(model, proposals)
    one = slice(5, 6)
    arrays = (proposals.views[one], proposals.candidates[one, :PROPOSALS], proposals.tokens[one])
    with torch.no_grad():
        alone = judged_gains(model, *(torch.from_numpy(np.array(a)) for a in arrays))
    np.testing.assert_allclose(alone[0].numpy(), said[5], atol=1e-4)


def test_the_best_median_above_the_bar_is_chosen() -> None:
    said = np.array(
        [
            [[0.5, 1.0, 2.0], [-0.1, 4.0, 9.0], [0.2, 1.5, 2.0]],
            [[-0.5, 1.0, 2.0], [-1.0, 4.0, 9.0], [-0.2, 1.5, 2.0]],
        ],
        dtype=np.float32,
    )
    assert chosen(said, 0.0).tolist() == [2, -1]
    assert chosen(said, -0.3).tolist() == [1, 2]
    assert chosen(said, 0.4).tolist() == [0, -1]


def test_a_curve_counts_gain_and_harm(store: EvidenceStore, knowing: Judgement, proposals: JudgeStore) -> None:
    frames = JudgedFrames.of(store, knowing, ["one", "one", "two"])
    gains, likeness = (np.array(a[:, :PROPOSALS]) for a in (proposals.gains, proposals.likeness))
    degraded = kinds_of(np.array(store.plans)) == Kind.DEGRADED
    point = risk_point("all", 0, frames, gains[:, WHOLE], likeness[:, WHOLE])
    assert point.delta_e_change == pytest.approx(-gains[degraded, WHOLE].mean(), abs=1e-5)
    assert point.worse == pytest.approx((gains[degraded, WHOLE] < -1).mean())
    assert point.worst_source > 1
    assert not point.allowed
    exact = np.repeat(gains[..., None], 3, 2) + np.array([-0.1, 0, 0.1], dtype=np.float32)
    timid, bold = judge_curve("judge", frames, exact, gains, likeness, (1e9, 0.0))
    assert (timid.delta_e_change, timid.worse, timid.touched, timid.worst_source) == (0, 0, 0, 0)
    assert bold.worse == 0
    assert bold.delta_e_change < point.delta_e_change


def test_what_is_allowed_and_gains_most_is_found() -> None:
    def made(change: float, harm: float) -> RiskPoint:
        shares = dict.fromkeys(("worse", "improved", "touched", "clean_changed"), 0.0)
        return RiskPoint(chooser="judge", bar=0, delta_e_change=change, worst_source=harm, **shares)

    assert boldest_allowed([made(-3, 1.2), made(-2, 0.9), made(-1, 0.1)]) == made(-2, 0.9)
    assert boldest_allowed([made(-3, 1.2)]) is None


def test_rare_sources_and_kinds_are_drawn_more_often_than_they_occur(store: EvidenceStore, knowing: Judgement) -> None:
    frames = JudgedFrames.of(store, knowing, ["one", "one", "two"])
    plans = np.tile(EditPlan(exposure_ev=1).vector(), (24, 1))
    plans[:2] = EditPlan(denoise=0.5).vector()
    shares = draw_shares(replace(frames, plans=plans, sources=np.where(np.arange(24) < 18, "one", "two")))
    assert shares.sum() == pytest.approx(1)
    assert shares[:2] == pytest.approx(4 * shares[2])
    assert shares[23] == pytest.approx(3**0.5 * shares[2])


def test_a_source_of_few_frames_is_judged_with_the_others_of_its_size(store: EvidenceStore, knowing: Judgement) -> None:
    """One frame of twenty is more than the aim, and tells nothing of the source that it is from."""
    kinds = kinds_of(np.array(store.plans))
    some = np.append(np.resize(np.flatnonzero(kinds == Kind.DEGRADED), 200), np.flatnonzero(kinds == Kind.CLEAN))
    frames = replace(JudgedFrames.of(store, knowing, ["one", "one", "two"], some), photos=np.arange(len(some)) // 5)
    gains, likeness = np.zeros(len(some), np.float32), np.full(len(some), 100, np.float32)
    gains[:4] = -5
    twenty = replace(frames, sources=np.char.mod("of %d", np.arange(len(some)) // 20))
    assert risk_point("x", 0, twenty, gains, likeness).worst_source == pytest.approx(0.02 / 0.03)
    forty = replace(frames, sources=np.char.mod("of %d", np.arange(len(some)) // 40))
    assert risk_point("x", 0, forty, gains, likeness).worst_source > 1
