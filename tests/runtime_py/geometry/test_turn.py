"""Levelling and cropping: where a turn's boxes and points lie, and that nothing empty is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pocketcrafter.runtime.errors import ShapeMismatchError
from pocketcrafter.runtime.geometry.turn import corners_in_source, cut, inscribed_box, to_source
from pocketcrafter.runtime.plan import CropBox

sides = st.integers(1, 4000)
degrees = st.floats(-15, 15)


@given(sides, sides, degrees)
def test_the_inscribed_box_is_centered_and_its_corners_lie_in_the_photo(width: int, height: int, turn: float) -> None:
    box = inscribed_box(width, height, turn)
    assert (box.left, box.top) == (width - box.right, height - box.bottom)
    # Of a sliver, less than a pixel may be left; one is kept.
    if min(width, height) >= 64:
        for x, y in corners_in_source(box, width, height, turn):
            assert -1e-6 <= x <= width + 1e-6
            assert -1e-6 <= y <= height + 1e-6


@given(st.integers(200, 4000), st.integers(200, 4000), degrees)
def test_the_inscribed_box_keeps_the_aspect_and_is_the_largest(width: int, height: int, turn: float) -> None:
    box = inscribed_box(width, height, turn)
    across, down = box.right - box.left, box.bottom - box.top
    # Whole pixels, on both sides.
    assert abs(across / width - down / height) <= 2 / across + 2 / down
    larger = CropBox(
        left=max(0, box.left - 3),
        top=max(0, box.top - 3),
        right=min(width, box.right + 3),
        bottom=min(height, box.bottom + 3),
    )
    corners = corners_in_source(larger, width, height, turn)
    full = (across, down) == (width, height)
    assert full or any(not (0 <= x <= width and 0 <= y <= height) for x, y in corners)


@given(sides, sides, degrees, st.floats(0, 1), st.floats(0, 1))
def test_turning_back_returns_a_point(width: int, height: int, turn: float, across: float, down: float) -> None:
    point = (across * width, down * height)
    there = to_source(point, width, height, turn)
    assert to_source(there, width, height, -turn) == pytest.approx(point, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@settings(max_examples=40, deadline=None)
@given(width=st.integers(8, 90), height=st.integers(8, 90), turn=degrees)
def test_no_empty_corner_is_kept(dtype: type, width: int, height: int, turn: float) -> None:
    top_level = np.iinfo(dtype).max
    white = np.full((height, width, 3), top_level, dtype)
    kept = cut(white, inscribed_box(width, height, turn), turn)
    assert kept.dtype == dtype
    assert kept.min() >= top_level * 0.99


def test_a_positive_turn_levels_what_rises_to_the_right() -> None:
    """A horizon is tilted by Pillow, counter-clockwise, and levelled again."""
    level = np.zeros((300, 420, 3), np.uint8)
    level[150:] = 255
    tilted = np.asarray(Image.fromarray(level).rotate(6, Image.Resampling.BICUBIC))
    again = cut(tilted, inscribed_box(420, 300, 6), 6.0)
    sky = (again[..., 0] < 128).sum(axis=0)
    assert np.ptp(sky) <= 1
    assert abs(sky.mean() - again.shape[0] / 2) <= 1
    worse = cut(tilted, inscribed_box(420, 300, -6), -6.0)
    assert np.ptp((worse[..., 0] < 128).sum(axis=0)) > 50


def test_without_a_turn_a_crop_is_exact() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 60, 3), dtype=np.uint16)
    box = CropBox(left=7, top=3, right=50, bottom=39)
    assert np.array_equal(cut(pixels, box), pixels[3:39, 7:50])


def test_sixteen_bits_and_opacity_are_turned_like_eight() -> None:
    ramp = np.linspace(0, 255, 120).astype(np.uint8)
    pixels = np.broadcast_to(ramp[None, :, None], (80, 120, 3)).copy()
    box = inscribed_box(120, 80, 5)
    eight = cut(pixels, box, 5.0)
    sixteen = cut(pixels.astype(np.uint16) * 257, box, 5.0)
    assert np.abs(sixteen / 257 - eight).max() <= 1
    assert np.abs(cut(pixels[..., 0].copy(), box, 5.0).astype(int) - eight[..., 0]).max() == 0


def test_a_box_beyond_the_canvas_is_refused() -> None:
    with pytest.raises(ShapeMismatchError, match="does not lie in 60×40 px"):
        cut(np.zeros((40, 60, 3), np.uint8), CropBox(left=0, top=0, right=61, bottom=40))
