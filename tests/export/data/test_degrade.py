"""What the degradation engine promises: determinism, a plan that mends, and speed."""

import time

import numpy as np
import pytest
from skimage.data import astronaut, coffee

from pocketcrafter.export.data.degrade import Faults, degrade
from pocketcrafter.export.data.noise import NoiseModel, add_noise
from pocketcrafter.export.data.sampling import CLEAN_SHARE, SINGLE_SHARE, Focus, draw_faults, draw_frame
from pocketcrafter.runtime.plan import RESTORATION, Attribute, EditPlan
from pocketcrafter.runtime.render import render

SENSOR = NoiseModel((4.5e-3, 2.2e-3, 3.2e-3), (2.6e-5, 2.1e-5, 2.7e-5))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(astronaut())


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a.astype(float) - b) ** 2) / 255**2 + 1e-12))


@pytest.mark.parametrize(
    "plan",
    [
        EditPlan(exposure_ev=1.5),
        EditPlan(temperature_mired=60),
        EditPlan(tint_mired=-30),
        EditPlan(contrast=0.7),
        EditPlan(shadows=0.6),
        EditPlan(highlights=0.4),
        EditPlan(saturation=0.8),
        EditPlan(dehaze=0.6),
    ],
    ids=lambda plan: next(a.value for a in Attribute if getattr(plan, a)),
)
def test_the_true_plan_mends_a_tonal_fault(photo: np.ndarray, plan: EditPlan) -> None:
    frame = degrade(photo, Faults(plan), np.random.default_rng(0))
    mended = render(plan, frame.degraded.astype(np.float32) / 255) * 255
    before = psnr(frame.degraded, photo)
    assert before < 34
    assert psnr(mended, photo) > max(32, before + 5)


def test_one_seed_gives_one_frame(photo: np.ndarray) -> None:
    first, second = (draw_frame(photo, 256, np.random.default_rng(5), [SENSOR]) for _ in range(2))
    assert first.plan == second.plan
    np.testing.assert_array_equal(first.degraded, second.degraded)


def test_restoration_faults_leave_the_tonal_target_alone(photo: np.ndarray) -> None:
    plan = EditPlan(exposure_ev=0.5, denoise=0.8, deblur=0.5, dejpeg=0.7)
    frame = degrade(photo, Faults(plan, noise=SENSOR), np.random.default_rng(0))
    tonal_only = degrade(photo, Faults(EditPlan(exposure_ev=0.5)), np.random.default_rng(0))
    np.testing.assert_array_equal(frame.tonal, tonal_only.degraded)
    assert psnr(frame.degraded, frame.tonal) < 30


def test_a_clean_frame_is_untouched(photo: np.ndarray) -> None:
    frame = degrade(photo, Faults(EditPlan()), np.random.default_rng(0))
    assert np.abs(frame.degraded.astype(int) - photo).max() <= 1


def test_noise_has_the_variance_of_its_profile() -> None:
    gray = np.full((400, 400, 3), 0.3, dtype=np.float32)
    for grain in (0.0, 0.8):
        noisy = add_noise(gray, SENSOR, grain, np.random.default_rng(0))
        expected = np.sqrt(np.array(SENSOR.a) * 0.3 + SENSOR.b)
        np.testing.assert_allclose(noisy.std((0, 1)), expected, rtol=0.05)


def test_scaling_a_profile_gives_the_asked_for_sigma() -> None:
    assert SENSOR.scaled_to(0.05).encoded_sigma == pytest.approx(0.05, rel=1e-6)


def test_about_one_frame_in_six_stays_clean_and_restoration_focus_restores() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_faults(rng, [SENSOR]) for _ in range(3000)]
    clean = np.mean([not f.plan.is_active() for f in drawn])
    assert abs(clean - CLEAN_SHARE) < 0.03
    restoring = [f for f in (draw_faults(rng, [SENSOR], Focus.RESTORATION) for _ in range(500)) if f.plan.is_active()]
    counts = [sum(f.plan.is_active(a) for a in RESTORATION) for f in restoring]
    assert set(counts) == {1, 2}
    assert abs(np.mean(np.array(counts) == 1) - SINGLE_SHARE) < 0.06


def test_ten_frames_a_second_on_two_cores() -> None:
    """Measured on one core, five frames a second of its processor time are the same."""
    rng = np.random.default_rng(0)
    source = np.ascontiguousarray(np.tile(coffee(), (2, 2, 1)))
    draw_frame(source, 512, rng, [SENSOR])
    start = time.process_time()
    for _ in range(10):
        draw_frame(source, 512, rng, [SENSOR])
    assert 10 / (time.process_time() - start) >= 5
