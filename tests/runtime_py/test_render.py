"""What each attribute of a plan does to a picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.plan import TONAL, Attribute, EditPlan, attribute_limits
from pocketcrafter.runtime.render import channel_curves, linear_to_srgb, render, srgb_to_linear

RAMP = np.linspace(0, 1, 257, dtype=np.float32)
LIMITS = dict(zip(Attribute, zip(*attribute_limits(), strict=True), strict=True))


def gray(value: float) -> FloatArray:
    return np.full((1, 1, 3), value, dtype=np.float32)


def luma(linear: FloatArray) -> float:
    return float((linear @ np.array(tm.LUMA)).item())


@st.composite
def tonal_plans(draw: st.DrawFn) -> EditPlan:
    return EditPlan(**{a.value: draw(st.floats(*LIMITS[a])) for a in TONAL})


def test_the_empty_plan_changes_nothing() -> None:
    picture = np.random.default_rng(0).random((40, 50, 3), dtype=np.float32)
    np.testing.assert_allclose(render(EditPlan(), picture), picture, atol=2e-6)


def test_restoration_and_geometry_are_not_read() -> None:
    picture = np.random.default_rng(0).random((8, 8, 3), dtype=np.float32)
    plan = EditPlan(denoise=1, deblur=1, dejpeg=1, tilt_degrees=5)
    np.testing.assert_array_equal(render(plan, picture), render(EditPlan(), picture))


def test_the_transfer_function_is_srgb_and_its_own_inverse() -> None:
    assert srgb_to_linear(np.float32([0.5]))[0] == pytest.approx(0.21404, abs=1e-5)
    assert linear_to_srgb(np.float32([0.18]))[0] == pytest.approx(0.46136, abs=1e-5)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(RAMP)), RAMP, atol=2e-6)


@pytest.mark.parametrize("stops", [1.0, 0.5, -0.01])
def test_exposure_is_a_factor_on_linear_light(stops: float) -> None:
    before = np.float32([[[0.1, 0.3, 0.5]]])
    after = render(EditPlan(exposure_ev=stops), before)
    np.testing.assert_allclose(srgb_to_linear(after), srgb_to_linear(before) * 2**stops, rtol=2e-3)


@given(stops=st.floats(-4, 0), mired=st.floats(-200, 200))
def test_clipped_white_stays_white_when_darkened(stops: float, mired: float) -> None:
    np.testing.assert_allclose(render(EditPlan(exposure_ev=stops), gray(1)), 1, atol=1e-5)
    tinted = channel_curves(EditPlan(exposure_ev=stops, temperature_mired=mired), gray(1))
    np.testing.assert_allclose(tinted, 1, atol=1e-5)


def test_warming_lifts_red_lowers_blue_and_keeps_the_luma_of_gray() -> None:
    for mired in (40, -40):
        after = srgb_to_linear(render(EditPlan(temperature_mired=mired), gray(0.5)))
        red, green, blue = after[0, 0] * np.sign(mired)
        assert red > green > blue
        # Darker channels go through the highlight shoulder, which costs a little at mid-gray.
        assert luma(after) == pytest.approx(luma(srgb_to_linear(gray(0.5))), rel=1e-3)


def test_tint_takes_green_away_and_keeps_the_luma_of_gray() -> None:
    after = srgb_to_linear(render(EditPlan(tint_mired=30), gray(0.5)))
    red, green, blue = after[0, 0]
    assert green < red
    assert red == pytest.approx(blue, rel=1e-5)
    assert luma(after) == pytest.approx(luma(srgb_to_linear(gray(0.5))), rel=1e-3)


def test_contrast_turns_about_encoded_mid_gray_with_its_slope() -> None:
    for contrast in (0.8, -0.5):
        plan = EditPlan(contrast=contrast)
        assert render(plan, gray(0.5))[0, 0, 0] == pytest.approx(0.5, abs=1e-5)
        high, low = (float(render(plan, gray(v))[0, 0, 0]) for v in (0.51, 0.49))
        assert (high - low) / 0.02 == pytest.approx(2**contrast, rel=1e-2)


def test_shadows_and_highlights_move_their_own_end_by_up_to_the_stated_peak() -> None:
    ramp = np.repeat(RAMP[:, None], 3, axis=1)
    for plan, peak_at in ((EditPlan(shadows=1), 1 / 3), (EditPlan(highlights=1), 2 / 3)):
        change = (render(plan, ramp) - ramp)[:, 0]
        assert change.max() == pytest.approx(0.14, abs=1e-3)
        assert RAMP[change.argmax()] == pytest.approx(peak_at, abs=0.01)
        assert np.abs(change[[0, -1]]).max() < 2e-5


def test_saturation_minus_one_is_gray_and_plus_one_doubles_chroma() -> None:
    before = np.float32([[[0.5, 0.4, 0.45]]])
    drained = render(EditPlan(saturation=-1), before)
    np.testing.assert_allclose(drained, luma(before), atol=1e-5)
    vivid = render(EditPlan(saturation=1), before)
    np.testing.assert_allclose(vivid - luma(before), 2 * (before - luma(before)), atol=1e-5)


def test_dehazing_removes_the_veil_it_stands_for() -> None:
    scene = np.float32([0.05, 0.2, 0.6])
    transmission = 1 - tm.VEIL * 0.5
    hazy = scene * transmission + tm.AIRLIGHT * (1 - transmission)
    after = render(EditPlan(dehaze=0.5), linear_to_srgb(hazy)[None, None])
    np.testing.assert_allclose(srgb_to_linear(after)[0, 0], scene, atol=1e-4)


@given(tonal_plans())
def test_curves_never_fall_and_stay_in_range(plan: EditPlan) -> None:
    curves = channel_curves(plan, RAMP[:, None])
    assert curves.shape == (len(RAMP), 3)
    assert np.diff(curves, axis=0).min() >= -1e-5
    assert curves.min() >= 0
    assert curves.max() <= 1


@given(plan=tonal_plans(), seed=st.integers(0, 2**31))
def test_any_plan_gives_a_picture_in_range(plan: EditPlan, seed: int) -> None:
    picture = np.random.default_rng(seed).random((3, 7, 3), dtype=np.float32)
    after = render(plan, picture)
    assert after.shape == picture.shape
    assert after.dtype == np.float32
    assert np.isfinite(after).all()
    assert after.min() >= 0
    assert after.max() <= 1
