"""Views match what the networks were trained on, at any photo size."""

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketcrafter.runtime.views import crop_origins, global_view, native_crops


def photo(height: int, width: int, seed: int = 0, dtype: type[np.unsignedinteger] = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, 3), dtype=dtype)


def test_a_512_frame_gives_its_two_by_two_means() -> None:
    frame = skimage.data.astronaut()
    means = frame.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(global_view(frame)[0], means, atol=1e-6)


@pytest.mark.parametrize("shape", [(1500, 1001), (300, 2000), (257, 256)])
def test_other_sizes_give_the_area_mean_that_training_uses(shape: tuple[int, int]) -> None:
    frame = photo(*shape)
    reference = cv2.resize(frame.astype(np.float32) / 255, (256, 256), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(global_view(frame)[0].transpose(1, 2, 0), reference, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([np.uint8, np.uint16]))
def test_the_view_keeps_the_mean_of_any_photo(height: int, width: int, dtype: type[np.unsignedinteger]) -> None:
    frame = photo(height, width, dtype=dtype)
    view = global_view(frame)
    assert view.shape == (1, 3, 256, 256)
    assert view.dtype == np.float32
    assert view.min() >= 0
    assert view.max() <= 1
    np.testing.assert_allclose(view.mean(axis=(0, 2, 3)), frame.mean(axis=(0, 1)) / np.iinfo(dtype).max, atol=1e-5)


def test_a_sliver_of_maximal_values_does_not_overflow() -> None:
    assert global_view(np.full((2_000_000, 1, 3), 65535, np.uint16)).min() == pytest.approx(1, abs=1e-5)


def test_crops_of_a_512_frame_are_where_training_takes_them() -> None:
    assert crop_origins(512, 512) == ((64, 64), (64, 320), (320, 64), (320, 320))
    assert crop_origins(3000, 4000) == ((680, 936), (680, 2936), (2184, 936), (2184, 2936))


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_crops_lie_on_the_jpeg_lattice_and_inside_the_photo(height: int, width: int) -> None:
    for top, left in crop_origins(height, width):
        assert top % 8 == left % 8 == 0
        assert 0 <= top <= max(0, height - 128)
        assert 0 <= left <= max(0, width - 128)


def test_crops_are_unscaled_pixels() -> None:
    frame = photo(700, 900, dtype=np.uint16)
    for crop, (top, left) in zip(native_crops(frame), crop_origins(700, 900), strict=True):
        np.testing.assert_array_equal(
            np.rint(crop.transpose(1, 2, 0) * 65535), frame[top : top + 128, left : left + 128]
        )


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (127, 40), (128, 128), (130, 5)])
def test_small_photos_are_extended_by_their_own_pixels(shape: tuple[int, int]) -> None:
    frame = photo(*shape)
    crops = native_crops(frame)
    assert crops.shape == (4, 3, 128, 128)
    assert set(np.unique(np.rint(crops * 255))) <= set(np.unique(frame).astype(float))
