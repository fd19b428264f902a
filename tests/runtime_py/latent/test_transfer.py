"""Carrying an edit to native resolution: what a grid holds exactly, and how it tells of what it does not."""

import numpy as np
import pytest

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ShapeMismatchError
from pocketcrafter.runtime.grid import slice_exact
from pocketcrafter.runtime.latent.sampler import Noise
from pocketcrafter.runtime.latent.transfer import fit_transfer


def _scene(side: int) -> FloatArray:
    """Waves of color, of the same content at any size."""
    place = (np.arange(side) + 0.5) / side
    rows, columns = np.meshgrid(place, place, indexing="ij")
    waves = [np.sin(9 * rows + 4 * columns), np.sin(5 * columns - 3 * rows), np.cos(7 * rows * columns)]
    scene: FloatArray = (0.5 + 0.35 * np.stack(waves, -1)).astype(np.float32)
    return scene


def _mixed(picture: FloatArray) -> FloatArray:
    """Change colors by one affine transform, without clipping."""
    matrix = np.array([[0.8, 0.1, 0.0], [0.05, 0.7, 0.1], [0.0, 0.1, 0.75]], np.float32)
    mixed: FloatArray = picture @ matrix.T + np.float32(0.03)
    return mixed


def test_an_affine_edit_is_carried_to_another_size_exactly() -> None:
    small, large = _scene(64), _scene(300)
    transfer = fit_transfer(small, _mixed(small))
    assert transfer.error_db > 70
    assert np.abs(slice_exact(transfer.grid, large) - _mixed(large)).max() < 2e-3


def test_an_edit_that_follows_place_and_tone_is_carried_well() -> None:
    def edit(picture: FloatArray) -> FloatArray:
        darker = np.linspace(0.6, 1.0, picture.shape[1], dtype=np.float32)[None, :, None]
        edited: FloatArray = picture ** np.float32(0.8) * darker
        return edited

    small, large = _scene(64), _scene(300)
    transfer = fit_transfer(small, edit(small))
    assert transfer.error_db > 40
    assert np.abs(slice_exact(transfer.grid, large) - edit(large)).mean() < 5e-3


def test_nothing_done_changes_nothing() -> None:
    transfer = fit_transfer(_scene(64), _scene(64))
    assert np.abs(slice_exact(transfer.grid, _scene(200)) - _scene(200)).max() < 1e-3


def test_noise_is_told_as_what_is_not_carried() -> None:
    scene = _scene(64)
    noisy = np.clip(scene + 0.1 * Noise(3).draw(scene.shape), 0, 1)
    assert fit_transfer(scene, noisy).error_db < 25


def test_two_sizes_are_no_edit() -> None:
    with pytest.raises(ShapeMismatchError, match="one size before and after"):
        fit_transfer(_scene(32), _scene(64))


def test_noise_is_normal_and_the_same_for_a_seed() -> None:
    drawn = Noise(11).draw((1, 4, 64, 64))
    np.testing.assert_array_equal(drawn, Noise(11).draw((1, 4, 64, 64)))
    assert abs(float(drawn.mean())) < 0.03
    assert abs(float(drawn.std()) - 1) < 0.03
    assert np.abs(drawn - Noise(12).draw((1, 4, 64, 64))).mean() > 0.5
