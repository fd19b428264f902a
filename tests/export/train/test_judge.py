"""The judge of proposals: what it chooses from, what it learns, and how its choice is measured."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.models.plan_judge import QUANTILES, PlanJudge
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.export.train.gate_frames import JudgedFrames, Kind, kinds_of
from pocketcrafter.export.train.judge import JudgeTask, judge_proposals, judged_gains, order_loss, quantile_loss
from pocketcrafter.export.train.judge_frames import JudgeConfig, JudgeStore, build_judge_store, outcomes
from pocketcrafter.export.train.plan_proposals import PROPOSALS, propose
from pocketcrafter.export.train.risk import RiskPoint, boldest_allowed, chosen, judge_curve, risk_point
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import RESTORATION, Attribute, EditPlan

CPU = torch.device("cpu")
CONFIG = JudgeConfig(critic_sha256="0" * 64, frames_sha256="1" * 64)
INDEX = {a: i for i, a in enumerate(Attribute)}


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


def test_proposals_are_parts_of_the_plan_in_range() -> None:
    torch.manual_seed(0)
    plan, presence = 3 * torch.randn(5, len(Attribute)), torch.rand(5, len(Attribute))
    made = propose(plan, presence).numpy()
    assert made.shape == (5, len(PROPOSALS), len(Attribute))
    assert not made[..., [INDEX[a] for a in RESTORATION]].any()
    for vector in made.reshape(-1, len(Attribute)):
        np.testing.assert_allclose(EditPlan.from_vector(vector).vector(), vector, atol=1e-6)
    whole, exposure = PROPOSALS.index("all × 1"), PROPOSALS.index("exposure × 0.5")
    for row in range(5):
        kept = EditPlan.from_vector(plan[row].numpy()).vector()
        kept[[INDEX[a] for a in RESTORATION]] = 0
        np.testing.assert_allclose(made[row, whole], kept, atol=1e-6)
        assert np.flatnonzero(made[row, exposure]).tolist() == [INDEX[Attribute.EXPOSURE]]


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
    assert (said.diff(dim=1) > 0).all()


def test_the_quantile_loss_is_lowest_at_the_quantiles() -> None:
    true = torch.linspace(0, 1, 1001)
    best = torch.tensor(QUANTILES)
    right = quantile_loss(best.expand(1001, 3), true)
    for shift in (-0.1, 0.1):
        for column in range(3):
            wrong = best.clone()
            wrong[column] += shift
            assert quantile_loss(wrong.expand(1001, 3), true) > right + 1e-3


def test_the_order_loss_wants_the_better_first_and_leaves_equals_alone() -> None:
    true = torch.tensor([[3.0, 0.0, 0.2]])
    assert order_loss(torch.tensor([[2.0, -2.0, -2.0]]), true) < order_loss(torch.tensor([[-2.0, 2.0, 2.0]]), true)
    equal = torch.tensor([[0.0, 0.1, 0.2]])
    assert order_loss(torch.tensor([[9.0, 0.0, -9.0]]), equal) == 0


def test_a_trained_judge_tells_a_right_proposal_from_its_contrary(proposals: JudgeStore, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = FitSettings(steps=150, batch=12, learning_rate=3e-3, warmup=10, ema=0.9)
    model = PlanJudge()
    judge = fit(JudgeTask(model, proposals, settings, CPU), settings, tmp_path / "fit")
    said = judge_proposals(judge, proposals)
    gains = np.array(proposals.gains[:, : len(PROPOSALS)])
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
    arrays = (proposals.views[one], proposals.candidates[one, : len(PROPOSALS)], proposals.tokens[one])
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
    gains, likeness = (np.array(a[:, : len(PROPOSALS)]) for a in (proposals.gains, proposals.likeness))
    degraded = kinds_of(np.array(store.plans)) == Kind.DEGRADED
    whole = PROPOSALS.index("all × 1")
    point = risk_point("all", 0, frames, gains[:, whole], likeness[:, whole])
    assert point.delta_e_change == pytest.approx(-gains[degraded, whole].mean(), abs=1e-5)
    assert point.worse == pytest.approx((gains[degraded, whole] < -1).mean())
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
