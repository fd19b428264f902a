"""What an edit plan promises: physical units, ranges, and a vector form that loses nothing."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.runtime.errors import ConfigError, ShapeMismatchError
from pocketcrafter.runtime.plan import RESTORATION, TONAL, Attribute, CropBox, EditPlan, attribute_limits

LOW, HIGH = attribute_limits()


@st.composite
def plans(draw: st.DrawFn) -> EditPlan:
    limits = zip(Attribute, LOW, HIGH, strict=True)
    return EditPlan(**{a.value: draw(st.floats(low, high)) for a, low, high in limits})


@given(plans())
def test_a_plan_survives_its_vector_form(plan: EditPlan) -> None:
    restored = EditPlan.from_vector(plan.vector())
    for attribute, low, high in zip(Attribute, LOW, HIGH, strict=True):
        assert getattr(restored, attribute) == pytest.approx(getattr(plan, attribute), abs=(high - low) * 1e-7)


def test_vector_entries_are_in_their_units_and_order() -> None:
    vector = EditPlan(exposure_ev=1.0, temperature_mired=-50, tint_mired=25, dejpeg=0.5).vector()
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, [0.5, -0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0.5])


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_vector_entries_out_of_range_are_clipped_to_the_limits(size: float) -> None:
    plan = EditPlan.from_vector(np.full(len(Attribute), size, dtype=np.float32))
    expected = HIGH if size > 0 else LOW
    np.testing.assert_allclose([getattr(plan, a) for a in Attribute], expected)


def test_a_vector_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeMismatchError, match=r"\(1, 11\)"):
        EditPlan.from_vector(np.zeros((1, len(Attribute)), dtype=np.float32))


def test_limits_are_those_of_the_fields() -> None:
    limits = dict(zip(Attribute, zip(LOW, HIGH, strict=True), strict=True))
    assert limits[Attribute.EXPOSURE] == (-4, 4)
    assert limits[Attribute.TEMPERATURE] == (-200, 200)
    assert limits[Attribute.SATURATION] == (-1, 1)
    assert all(limits[a] == (0, 1) for a in (*RESTORATION, Attribute.DEHAZE))


@pytest.mark.parametrize(
    "fields",
    [
        {"exposure_ev": 4.01},
        {"denoise": -0.01},
        {"contrast": float("nan")},
        {"tint_mired": float("inf")},
        {"warmth": 1},
    ],
    ids=str,
)
def test_illegal_plans_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        EditPlan(**fields)


def test_scaling_multiplies_attributes_clips_them_and_keeps_geometry() -> None:
    crop = CropBox(left=1, top=2, right=30, bottom=40)
    plan = EditPlan(exposure_ev=1.0, saturation=0.8, denoise=0.4, tilt_degrees=2.0, crop=crop)
    half, double = plan.scaled(0.5), plan.scaled(2.0)
    assert (half.exposure_ev, half.saturation) == (0.5, pytest.approx(0.4))
    assert (double.exposure_ev, double.saturation, double.denoise) == (2.0, 1.0, pytest.approx(0.8))
    assert half.tilt_degrees == double.tilt_degrees == 2.0
    assert half.crop == double.crop == crop


def test_strength_zero_asks_for_nothing() -> None:
    assert not EditPlan(exposure_ev=-2, deblur=1, dehaze=0.3).scaled(0).is_active()


def test_activity_can_be_asked_of_some_attributes() -> None:
    plan = EditPlan(denoise=0.1)
    assert plan.is_active()
    assert plan.is_active(*RESTORATION)
    assert not plan.is_active(*TONAL)
    assert not EditPlan(tilt_degrees=3).is_active()


def test_a_plan_survives_json() -> None:
    plan = EditPlan(exposure_ev=0.25, crop=CropBox(left=0, top=0, right=5, bottom=5))
    assert EditPlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_plan_with_other_values_is_checked_and_text_stands_for_numbers() -> None:
    plan = EditPlan(exposure_ev=1, denoise=0.4)
    assert plan.replace(exposure_ev="+0.5", tilt_degrees=-2) == EditPlan(exposure_ev=0.5, denoise=0.4, tilt_degrees=-2)
    assert plan.exposure_ev == 1
    for changes, told in (
        ({"exposure": 1}, "exposure: unknown key; did you mean `exposure_ev`"),
        ({"exposure_ev": "9"}, "exposure_ev: `9` is out of range; it must be from -4 to 4"),
        ({"denoise": -0.1}, "denoise: -0.1 is out of range; it must be from 0 to 1"),
        ({"contrast": "much"}, "contrast: `much` is not a number"),
        ({"contrast": float("nan")}, "not a finite number"),
        ({"crop": "all"}, "crop: "),
    ):
        with pytest.raises(ConfigError, match=re.escape(told)):
            plan.replace(**changes)


def test_a_plan_can_be_cut_down_to_single_fields() -> None:
    plan = EditPlan(exposure_ev=1, denoise=0.4, tilt_degrees=3)
    assert plan.only("denoise", "contrast") == EditPlan(denoise=0.4)
    assert plan.only("tilt_degrees").has_geometry
    with pytest.raises(ConfigError, match="did you mean `denoise`"):
        plan.only("denoised")
