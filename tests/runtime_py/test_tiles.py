"""Tiling covers every pixel once, whatever the size of the photo."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import BackendError, ShapeMismatchError
from pocketcrafter.runtime.tiles import feather, map_tiles, tile_starts

SIDE = st.integers(1, 150)


def photo(height: int, width: int, dtype: type[np.unsignedinteger] = np.uint8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (height, width, 3), dtype=dtype)


@given(st.integers(1, 3000), st.sampled_from([(32, 8), (64, 16), (512, 32)]))
def test_weights_are_a_partition_of_unity_over_the_whole_side(length: int, shape: tuple[int, int]) -> None:
    tile, overlap = shape
    starts = tile_starts(length, tile, overlap)
    total = np.zeros(starts[-1] + tile)
    for index, start in enumerate(starts):
        total[start : start + tile] += feather(index, len(starts), tile, overlap)
    assert len(total) >= length
    np.testing.assert_allclose(total, 1, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(SIDE, SIDE, st.sampled_from([np.uint8, np.uint16]))
def test_an_identity_network_gives_the_identical_photo(
    height: int, width: int, dtype: type[np.unsignedinteger]
) -> None:
    pixels = photo(height, width, dtype)
    np.testing.assert_array_equal(map_tiles(pixels, lambda t: t, tile=32, overlap=8), pixels)


@settings(max_examples=20, deadline=None)
@given(SIDE, SIDE)
def test_a_pointwise_network_leaves_no_seams(height: int, width: int) -> None:
    pixels = photo(height, width)
    tiled = map_tiles(pixels, np.sqrt, tile=32, overlap=8)
    whole = np.rint(np.sqrt(pixels.astype(np.float32) / 255) * 255)
    assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_tiles_that_disagree_blend_without_a_step() -> None:
    """Each call answers with another grey, as a network whose mean drifts from tile to tile does."""
    greys = iter(np.linspace(0.2, 0.8, 100))
    flat = map_tiles(photo(32, 200), lambda t: np.full_like(t, next(greys)), tile=32, overlap=8)
    assert np.abs(np.diff(flat[0, :, 0].astype(int))).max() <= 2


def test_what_lies_past_the_border_is_the_photo_reflected() -> None:
    seen: list[FloatArray] = []
    pixels = photo(5, 3)

    def watch(tile: FloatArray) -> FloatArray:
        seen.append(tile)
        return tile

    map_tiles(pixels, watch, tile=32, overlap=8)
    expected = np.pad(pixels, ((0, 27), (0, 29), (0, 0)), mode="reflect").transpose(2, 0, 1)
    np.testing.assert_array_equal(np.rint(seen[0][0] * 255), expected)


def test_tiles_stay_on_the_jpeg_lattice_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    map_tiles(photo(600, 1100), lambda t: t, progress=lambda done, total: told.append((done, total)))
    assert all(start % 8 == 0 for start in tile_starts(11_000))
    assert told == [(i, 6) for i in range(1, 7)]


def test_values_outside_the_range_are_clipped() -> None:
    assert map_tiles(photo(40, 40), lambda t: t * 0 + 1.7, tile=32, overlap=8).min() == 255


def test_a_broken_network_is_a_typed_error() -> None:
    with pytest.raises(ShapeMismatchError, match="tile"):
        map_tiles(photo(8, 8), lambda t: t[..., :4], tile=32, overlap=8)
    with pytest.raises(BackendError, match="not finite"):
        map_tiles(photo(8, 8), lambda t: t * np.float32(np.nan), tile=32, overlap=8)
