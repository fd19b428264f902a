"""What the prose is told of a plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.runtime.attribute_gate import AttributeGate, GateSettings
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import Attribute, EditPlan, attribute_limits
from pocketcrafter.runtime.prose.prompt import (
    LADDERS,
    PROMPT_LENGTH,
    PROMPT_WORDS,
    VOICES,
    Topic,
    mended,
    nearest_step,
    outline,
    prompt_words,
    stated_plan,
    voice_of,
)

OPEN = GateSettings.uniform(presence=0, confidence=0, dead_zone=0)


@pytest.mark.parametrize("attribute", Attribute)
def test_ladders_ascend_hold_zero_and_span_the_attribute(attribute: Attribute) -> None:
    ladder = LADDERS[attribute]
    low, high = (limit[list(Attribute).index(attribute)] for limit in attribute_limits())
    assert list(ladder) == sorted(set(ladder))
    assert 0 in ladder
    assert (ladder[0], ladder[-1]) == (low, high)


@given(attribute=st.sampled_from(Attribute), share=st.floats(-1, 1))
def test_an_amount_is_told_as_the_nearest_step(attribute: Attribute, share: float) -> None:
    ladder = LADDERS[attribute]
    amount = share * ladder[-1]
    told = nearest_step(attribute, amount)
    assert told in ladder
    assert abs(told - amount) == min(abs(step - amount) for step in ladder)


def test_amounts_too_small_to_name_are_no_change() -> None:
    plan = stated_plan(EditPlan(exposure_ev=0.04, temperature_mired=-2.6), OPEN)
    assert (plan[Attribute.EXPOSURE], plan[Attribute.TEMPERATURE]) == (0, -5)


def test_what_the_gate_never_lets_through_is_not_assessed() -> None:
    never = AttributeGate(presence=1, confidence=1, dead_zone=4, shrink=0)
    gate = GateSettings(attributes=OPEN.attributes | {Attribute.TINT: never})
    plan = stated_plan(EditPlan(contrast=0.3), gate)
    assert plan[Attribute.TINT] is None
    assert plan[Attribute.CONTRAST] == 0.3
    assert plan[Attribute.SATURATION] == 0


def test_the_outline_has_each_attribute_once_and_each_fault_where_it_is_mended() -> None:
    plan = stated_plan(EditPlan(exposure_ev=1, denoise=0.5, saturation=-0.2), OPEN)
    for voice in range(VOICES):
        told = outline(plan, 61, Mode.FULL, voice)
        said = [a for thought in told.thoughts[:2] for sentence in thought for a in sentence.attributes]
        assert sorted(said) == sorted(Attribute)
        faults = [w for s in told.thoughts[1] if s.topic is Topic.FAULTS for w in s.words]
        assert faults == ["<exposure_ev:+1>", "<saturation:-0.2>"]
        (summary,) = told.thoughts[4]
        assert summary.words == ("<score:60>", *(word for item in told.items for word in item.words))
        assert set(mended(plan, voice)) == {Attribute.EXPOSURE, Attribute.DENOISE, Attribute.SATURATION}


@given(mode=st.sampled_from(Mode), voice=st.integers(0, VOICES - 1))
def test_every_sentence_of_the_thoughts_is_told_what_it_is_about(mode: Mode, voice: int) -> None:
    for amount in (None, 0.0, 0.05):
        told = outline(dict.fromkeys(Attribute, amount), 50, mode, voice)
        assert len(told.thoughts) == 5
        assert all(sentence.words for thought in told.thoughts for sentence in thought)
        assert len(told.items) == (len(Attribute) if amount else 1)


@given(score=st.floats(-10, 110), mode=st.sampled_from(Mode))
def test_prompts_are_of_one_length_and_of_known_words(score: float, mode: Mode) -> None:
    plan = stated_plan(EditPlan(exposure_ev=-1.3, dehaze=0.42), OPEN)
    said = prompt_words(plan, score, mode)
    assert len(said) == PROMPT_LENGTH
    assert set(said) <= set(PROMPT_WORDS)


def test_photos_are_spread_over_the_voices() -> None:
    plans = [stated_plan(EditPlan(exposure_ev=n / 10), OPEN) for n in range(-20, 21)]
    voices = [voice_of(plan, score) for plan in plans for score in range(0, 100, 20)]
    assert min(map(voices.count, range(VOICES))) > len(voices) / VOICES / 2
