"""Propose and judge: what is proposed, what it looks like, and what is chosen."""

from collections.abc import Mapping

import numpy as np
import pytest
import skimage.data

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings, apply_gate
from pocketcrafter.runtime.critique import AttributeOpinion, Critique, Item, critique_from
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import RESTORATION, TONAL, Attribute, EditPlan
from pocketcrafter.runtime.plan_judge import (
    PREVIEW_PX,
    PROPOSALS,
    JudgeSettings,
    Proposal,
    best,
    choose,
    judge_inputs,
    preview,
    propose,
    rendered_previews,
)
from pocketcrafter.runtime.pocket import POCKET_SPECS, TOKEN_DIM, TOKENS, Pocket
from pocketcrafter.runtime.prose.prompt import stated_plan
from pocketcrafter.runtime.render import render
from pocketcrafter.runtime.validation import check
from pocketcrafter.runtime.views import global_view
from pocketcrafter.runtime.words import counted

INDEX = {a: i for i, a in enumerate(Attribute)}
TONES = (Attribute.EXPOSURE, Attribute.TINT)
SETTINGS = JudgeSettings(
    proposals=(
        Proposal(attributes=TONES),
        Proposal(attributes=(Attribute.EXPOSURE,), strength=1.5),
        *(Proposal(attributes=TONES, dead_zone=0.3, strength=0.5),) * (PROPOSALS - 2),
    ),
    bar=0.5,
    worth=1.5,
)
PREDICTED = EditPlan(exposure_ev=1, tint_mired=5, saturation=0.5, denoise=0.5).vector()
VIEW = global_view(skimage.data.astronaut())
TOKENS_OUT = np.ones((1, TOKENS, TOKEN_DIM), np.float32)


class Saying:
    """A judge that says fixed gains."""

    def __init__(self, gains: FloatArray) -> None:
        self.gains = gains
        self.seen: list[Mapping[str, FloatArray]] = []

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        self.seen.append(inputs)
        return {"gain": self.gains}


def gains_of(place: int, low: float) -> FloatArray:
    gains = np.tile(np.array([-3, 0, 1], np.float32), (PROPOSALS, 1))
    gains[place] = (low, low + 1, low + 3)
    return gains


def test_proposals_are_parts_of_the_plan_each_in_range() -> None:
    plans = propose(PREDICTED, SETTINGS.proposals)
    assert plans.shape == (PROPOSALS, len(Attribute))
    np.testing.assert_allclose(plans[0], EditPlan(exposure_ev=1, tint_mired=5).vector())
    np.testing.assert_allclose(plans[1], EditPlan(exposure_ev=1.5).vector())
    np.testing.assert_allclose(plans[2], EditPlan(exposure_ev=0.5).vector())
    far = propose(np.full((3, len(Attribute)), 9, np.float32), SETTINGS.proposals)
    assert far.shape == (3, PROPOSALS, len(Attribute))
    assert far[..., INDEX[Attribute.EXPOSURE]].max() == 2
    spoiled = PREDICTED.copy()
    spoiled[INDEX[Attribute.EXPOSURE]] = np.nan
    np.testing.assert_allclose(propose(spoiled, SETTINGS.proposals)[0], EditPlan(tint_mired=5).vector())


def test_a_preview_is_the_mean_of_squares_and_is_rendered_as_the_photo_is() -> None:
    small = preview(VIEW)
    assert small.shape == (1, 3, PREVIEW_PX, PREVIEW_PX)
    np.testing.assert_allclose(small[0, 1, 2, 3], VIEW[0, 1, 16:24, 24:32].mean(), atol=1e-6)
    shown = rendered_previews(small, propose(PREDICTED, SETTINGS.proposals))
    expected = render(EditPlan(exposure_ev=1.5), small[0].transpose(1, 2, 0)).transpose(2, 0, 1)
    np.testing.assert_allclose(shown[1], expected, atol=1e-6)


def test_a_judge_reads_what_its_contract_says() -> None:
    read = judge_inputs(preview(VIEW), propose(PREDICTED, SETTINGS.proposals), TOKENS_OUT)
    for tensor in POCKET_SPECS[Pocket.JUDGE].inputs:
        assert read[tensor.name].shape == tensor.shape
        assert read[tensor.name].dtype == np.float32


def test_the_best_median_above_the_bar_is_chosen() -> None:
    gains = np.array([[0.5, 1, 2], [-0.1, 4, 9], [0.2, 1.5, 2]], np.float32)
    assert best(gains, 0, 0) == 2
    assert best(gains, -0.3, 0) == 1
    assert best(gains, 0.6, 0) is None
    assert best(gains, 0, 1.5) is None
    assert best(np.full((3, 3), np.nan, np.float32), 0, 0) is None


def test_only_what_is_surely_better_is_carried_out() -> None:
    judge = Saying(gains_of(1, low=0.75))
    chosen = choose(PREDICTED, VIEW, TOKENS_OUT, SETTINGS, lambda: judge)
    assert chosen is not None
    assert chosen.tones == EditPlan(exposure_ev=1.5)
    assert chosen.gain == (0.75, 1.75, 3.75)
    assert choose(PREDICTED, VIEW, TOKENS_OUT, SETTINGS, lambda: Saying(gains_of(1, low=0.5))) is None
    little = EditPlan(exposure_ev=0.1).vector()
    assert choose(little, VIEW, TOKENS_OUT, SETTINGS, lambda: Saying(gains_of(2, low=0.75))) is None, (
        "nothing is left of it"
    )


def test_a_plan_without_tones_is_judged_by_nobody() -> None:
    def none() -> Saying:
        raise AssertionError("there is nothing to judge")

    assert choose(EditPlan(denoise=0.5).vector(), VIEW, TOKENS_OUT, SETTINGS, none) is None


def test_with_a_judge_its_choice_takes_the_place_of_the_tones_and_thresholds_keep_restoration() -> None:
    gate = GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.05)
    judged = gate.model_copy(update={"judge": SETTINGS})
    sure = np.ones(len(Attribute), np.float32)
    assert apply_gate(PREDICTED, sure, sure, gate).saturation == 0.5
    tones = EditPlan(exposure_ev=1.5)
    assert apply_gate(PREDICTED, sure, sure, judged, tones) == tones.replace(denoise=0.5)
    assert apply_gate(PREDICTED, sure, sure, judged) == EditPlan(denoise=0.5)
    assert apply_gate(PREDICTED, 0 * sure, sure, judged, tones) == tones


def test_a_critique_tells_of_what_the_judge_can_choose() -> None:
    judged = GateSettings.uniform(presence=0, confidence=0, dead_zone=0).model_copy(update={"judge": SETTINGS})
    assert judged.assessed == {*TONES, *RESTORATION}
    sure = np.ones(len(Attribute), np.float32)
    chosen = choose(PREDICTED, VIEW, TOKENS_OUT, SETTINGS, lambda: Saying(gains_of(1, low=1)))
    critique = critique_from(PREDICTED, sure, sure, 0.5, judged, chosen)
    assert critique.findings[Item.EXPOSURE] == pytest.approx(0.75)
    assert critique.findings[Item.WHITE_BALANCE] == "fine"
    assert critique.findings[Item.SATURATION] == "not_assessed"
    assert critique.gain == (1, 2, 4)
    assert Critique.model_validate_json(critique.model_dump_json()) == critique
    assert stated_plan(critique.plan, judged)[Attribute.SATURATION] is None
    assert stated_plan(critique.plan, judged)[Attribute.TINT] == 0
    assert critique_from(PREDICTED, sure, sure, 0.5, judged).gain is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bar": 101}, "bar"),
        ({"proposals": [{"attributes": ["exposure_ev"]}]}, "proposals"),
        ({"proposals": [{"attributes": ["brightness"]}] * PROPOSALS}, "attributes"),
        ({"proposals": [{"attributes": TONAL, "strength": 0}] * PROPOSALS}, "strength"),
    ],
)
def test_settings_that_no_judge_can_have_are_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check(JudgeSettings, SETTINGS.model_dump() | change, "judge")


def test_what_an_item_is_found_by_is_told_where_it_is_not_called_after_it() -> None:
    """Haze is lost contrast: "contrast 0.58" beside a plan that leaves contrast alone would be a riddle."""
    opinion = AttributeOpinion(amount=0, presence=0, confidence=0)
    hazy = Critique(
        score=20,
        findings=dict.fromkeys(Item, "not_assessed") | {Item.CONTRAST: 0.58, Item.SATURATION: 0.25},
        plan=EditPlan(dehaze=0.58, contrast=-0.01, saturation=-0.25),
        opinions=dict.fromkeys(Attribute, opinion),
    )
    told = "\n".join(hazy.lines())
    assert "saturation 0.25, contrast 0.58 (dehaze)" in told


@pytest.mark.parametrize(("count", "told"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps")])
def test_one_of_a_thing_is_not_several(count: int, told: str) -> None:
    assert counted(count, "step") == told
