"""The fast slice of the bilateral grid is the exact one, and the exact one is what the contract says."""

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.develop import develop
from pocketcrafter.runtime.errors import BackendError, ShapeMismatchError
from pocketcrafter.runtime.grid import IDENTITY, blended, slice_exact
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.pocket import GRID
from pocketcrafter.runtime.render import render


def rough_grid(sigma: float, seed: int = 0) -> FloatArray:
    return IDENTITY + np.random.default_rng(seed).normal(0, sigma, GRID).astype(np.float32)


def test_the_exact_slice_follows_the_contract_at_a_pixel() -> None:
    """Interpolates by hand, corner by corner, at one pixel between bins and cells."""
    grid = rough_grid(0.2)
    rgb = np.random.default_rng(2).random((33, 47, 3)).astype(np.float32)
    y, x = 19, 30
    gy, gx = (y + 0.5) / 33 * 15, (x + 0.5) / 47 * 15
    gk = float(rgb[y, x] @ [0.2126, 0.7152, 0.0722]) * 7
    affine = np.zeros(12)
    for k in range(8):
        for i in range(16):
            for j in range(16):
                weight = max(0, 1 - abs(gk - k)) * max(0, 1 - abs(gy - i)) * max(0, 1 - abs(gx - j))
                affine += weight * grid[:, k, i, j]
    expected = affine.reshape(3, 4) @ np.append(rgb[y, x], 1)
    np.testing.assert_allclose(slice_exact(grid, rgb)[y, x], expected, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.floats(0, 0.3),
    st.sampled_from([np.uint8, np.uint16]),
    st.floats(-1, 1),
)
def test_the_fast_path_is_within_half_a_level_of_the_exact_one(
    height: int, width: int, sigma: float, dtype: type[np.unsignedinteger], exposure: float
) -> None:
    grid, plan = rough_grid(sigma), EditPlan(exposure_ev=exposure, saturation=0.3)
    level = np.iinfo(dtype).max
    pixels = np.random.default_rng(3).integers(0, level + 1, (height, width, 3), dtype=dtype)
    exact = np.clip(slice_exact(grid, render(plan, pixels.astype(np.float32) / level)), 0, 1)
    # Rounding to the dtype's own levels comes on top.
    allowed = 0.5 / 255 + 0.51 / level
    assert np.abs(develop(pixels, plan, grid) / level - exact).max() <= allowed


def test_a_smooth_grid_at_photo_size_stays_within_half_a_level() -> None:
    cells = np.linspace(-0.1, 0.1, 16, dtype=np.float32)
    grid = IDENTITY + cells[None, None, :, None] - cells[None, None, None, :] * 0.5
    pixels = np.repeat(skimage.data.rocket()[:200, :300], 4, axis=1)
    exact = np.clip(slice_exact(grid, pixels.astype(np.float32) / 255), 0, 1)
    assert np.abs(develop(pixels, EditPlan(), grid) / 255 - exact).max() <= 1.01 / 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_identity_grid_and_an_empty_plan_change_nothing(dtype: type[np.unsignedinteger]) -> None:
    pixels = (skimage.data.coffee()[:200, :301].astype(dtype)) * dtype(np.iinfo(dtype).max // 255)
    np.testing.assert_array_equal(develop(pixels, EditPlan(), IDENTITY), pixels)


def test_integer_development_is_the_float_render_rounded() -> None:
    plan = EditPlan(exposure_ev=0.6, contrast=0.3, temperature_mired=-30, saturation=-0.4, dehaze=0.2)
    pixels = skimage.data.rocket()
    expected = render(plan, pixels.astype(np.float32) / 255) * 255
    assert np.abs(develop(pixels, plan, None) - expected).max() <= 0.501


def test_thread_count_does_not_change_the_result() -> None:
    pixels, grid = skimage.data.chelsea(), rough_grid(0.05)
    plan = EditPlan(saturation=0.5)
    np.testing.assert_array_equal(develop(pixels, plan, grid, threads=1), develop(pixels, plan, grid, threads=3))


def test_strength_scales_the_departure_from_identity() -> None:
    grid = rough_grid(0.1)
    np.testing.assert_allclose(blended(grid, 0), IDENTITY)
    np.testing.assert_allclose(blended(grid, 0.5) - IDENTITY, (grid - IDENTITY) / 2, atol=1e-7)


def test_a_broken_grid_is_a_typed_error() -> None:
    with pytest.raises(ShapeMismatchError):
        blended(IDENTITY[None], 1)
    with pytest.raises(BackendError, match="not finite"):
        blended(np.full(GRID, np.nan, np.float32), 1)
