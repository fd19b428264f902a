"""Metrics: known values for known changes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketcrafter.benchmarks.common.picture_metrics import Brisque, Extras, FeatureDistance, Reference, psnr_db
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.models.backbone import MobileNetV2


def flat(*color: int) -> ByteImage:
    return np.full((32, 32, 3), color, dtype=np.uint8)


@pytest.fixture(scope="module")
def distance() -> FeatureDistance:
    """Features of a network that has learned nothing, which tell pictures apart all the same."""
    torch.manual_seed(0)
    return FeatureDistance(MobileNetV2().state_dict())


def test_psnr_has_the_8_bit_range_and_ends_at_100() -> None:
    assert psnr_db(flat(100, 100, 100), flat(110, 110, 110)) == pytest.approx(20 * np.log10(255 / 10))
    assert psnr_db(flat(0, 0, 0), flat(255, 255, 255)) == pytest.approx(0)
    assert psnr_db(flat(7, 8, 9), flat(7, 8, 9)) == 100


def test_delta_e_is_that_of_published_colors() -> None:
    assert Reference(flat(255, 255, 255)).delta_e(flat(0, 0, 0)) == pytest.approx(100, abs=0.01)
    assert Reference(flat(50, 60, 70)).delta_e(flat(50, 60, 70)) == 0
    # sRGB red and green, as CIEDE2000 calculators give it.
    assert Reference(flat(0, 255, 0)).delta_e(flat(255, 0, 0)) == pytest.approx(86.6, abs=0.1)


def test_the_feature_distance_is_zero_for_equals_symmetric_and_at_most_two(
    distance: FeatureDistance, ramp: ByteImage
) -> None:
    first, second = distance.features(ramp), distance.features(255 - ramp)
    assert distance.between(first, first) == 0
    assert 0 < distance.between(first, second) <= 2
    assert distance.between(first, second) == pytest.approx(distance.between(second, first))
    for features in first:
        np.testing.assert_allclose(features.norm(dim=1).numpy(), 1, atol=1e-5)


def test_the_feature_distance_grows_with_noise(distance: FeatureDistance, ramp: ByteImage) -> None:
    noise = np.random.default_rng(0).normal(0, 1, ramp.shape)
    reference = Reference(ramp, Extras(features=distance))
    noisy = [np.clip(ramp + sigma * noise, 0, 255).astype(np.uint8) for sigma in (0, 4, 16)]
    distances = [reference.figures(picture).feature_distance for picture in noisy]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2]


def test_brisque_needs_no_reference_to_see_noise(photos: list[Path]) -> None:
    pytest.importorskip("brisque")
    picture = np.asarray(Image.open(photos[0]).convert("RGB"))[:256, :256]
    noisy = np.clip(picture + np.random.default_rng(0).normal(0, 25, picture.shape), 0, 255).astype(np.uint8)
    brisque = Brisque()
    assert brisque.score(picture) + 10 < brisque.score(noisy)
    reference = Reference(picture, Extras(brisque=brisque))
    assert reference.figures(picture).brisque == brisque.score(picture)
