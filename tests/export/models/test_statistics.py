"""The statistics react to what they are there for, on real photos."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pocketcrafter.export.data.degrade import Faults, degrade
from pocketcrafter.export.data.noise import NoiseModel
from pocketcrafter.export.models.critic import CropStatistics, SoftHistogram, ViewStatistics
from pocketcrafter.runtime.plan import EditPlan

SENSOR = NoiseModel((4.5e-3, 2.2e-3, 3.2e-3), (2.6e-5, 2.1e-5, 2.7e-5))
MEAN_RESIDUAL, FLOOR_RESIDUAL = slice(0, 3), slice(3, 6)
FINE_EDGES = slice(9 + 3 * 12, 9 + 3 * 12 + 4)
BLOCK_EDGE_ACROSS, BLOCK_EDGE_DOWN = 69, 79
PHOTOS = {"astronaut": skimage.data.astronaut, "cat": skimage.data.chelsea, "coffee": skimage.data.coffee}


@pytest.fixture(params=PHOTOS)
def photo(request: pytest.FixtureRequest) -> np.ndarray:
    return np.ascontiguousarray(PHOTOS[request.param]()[:256, :384])


def crop_statistics(picture: np.ndarray) -> Tensor:
    """Mean of the statistics over the crops of a 256×384 picture."""
    crops = picture.reshape(2, 128, 3, 128, 3).transpose(0, 2, 4, 1, 3).reshape(6, 3, 128, 128)
    statistics = CropStatistics()(torch.from_numpy(crops / np.float32(255)))
    assert statistics.shape == (6, CropStatistics.features)
    return statistics.mean(0)


def test_noise_raises_the_noise_floor_of_every_plane(photo: np.ndarray) -> None:
    levels = [0.0, 0.3, 0.9]
    found = []
    for level in levels:
        noise = SENSOR.scaled_to(level * 0.08) if level else None
        degraded = degrade(photo, Faults(EditPlan(denoise=level), noise=noise), np.random.default_rng(0)).degraded
        found.append(crop_statistics(degraded)[FLOOR_RESIDUAL])
    assert (found[1] > found[0] + 0.3).all()
    assert (found[2] > found[1] + 0.3).all()


@pytest.mark.parametrize("edge", [BLOCK_EDGE_ACROSS, BLOCK_EDGE_DOWN], ids=["across", "down"])
def test_jpeg_raises_the_steps_between_its_blocks_and_no_others(photo: np.ndarray, edge: int) -> None:
    compressed = degrade(photo, Faults(EditPlan(dejpeg=1)), np.random.default_rng(0)).degraded
    rise = crop_statistics(compressed)[edge : edge + 8] - crop_statistics(photo)[edge : edge + 8]
    assert rise[0] > 0.3
    assert (rise[0] > rise[1:] + 0.3).all()


def test_blur_lowers_fine_edges(photo: np.ndarray) -> None:
    found = [
        crop_statistics(degrade(photo, Faults(EditPlan(deblur=amount)), np.random.default_rng(0)).degraded)[FINE_EDGES]
        for amount in (0.0, 0.4, 1.0)
    ]
    assert (found[1] < found[0] - 0.1).all()
    assert (found[2] < found[1] - 0.1).all()


def test_means_and_histograms_of_the_view_are_those_of_the_photo(photo: np.ndarray) -> None:
    view = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA)
    batch = torch.from_numpy(view.transpose(2, 0, 1)[None] / np.float32(255))
    statistics = ViewStatistics()(batch)[0]
    assert statistics.shape == (ViewStatistics.features,)
    torch.testing.assert_close(statistics[:3], batch.mean((0, 2, 3)))
    tone = statistics[6:22]
    assert float(tone.sum()) == pytest.approx(1, abs=1e-4)
    luma = (batch * torch.tensor([0.2126, 0.7152, 0.0722])[:, None, None]).sum(1).mean()
    assert float((tone * torch.linspace(0, 1, 16)).sum()) == pytest.approx(float(luma), abs=1e-4)


def test_a_soft_histogram_shares_a_value_between_its_two_bins() -> None:
    memberships = SoftHistogram(5)(torch.tensor([0.0, 0.3, 1.0]).reshape(1, 1, 1, 3))
    expected = torch.tensor([[1.0, 0, 0, 0, 0], [0, 0.8, 0.2, 0, 0], [0, 0, 0, 0, 1]])
    torch.testing.assert_close(memberships[0, :, 0].T, expected)


def test_statistics_are_finite_where_nothing_varies() -> None:
    for level in (0.0, 0.5, 1.0):
        assert torch.isfinite(CropStatistics()(torch.full((1, 3, 128, 128), level))).all()
        assert torch.isfinite(ViewStatistics()(torch.full((1, 3, 256, 256), level))).all()


class RoundedToHalf(TorchDispatchMode):
    """Rounds the result of every operator to float16, as a phone's accelerator keeps it."""

    def __torch_dispatch__(
        self, func: Callable[..., object], types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        result = func(*args, **(kwargs if isinstance(kwargs, dict) else {}))
        return result.half().float() if isinstance(result, Tensor) and result.is_floating_point() else result


def test_smooth_places_stay_smooth_in_half_precision() -> None:
    """Guards the critic on accelerators: in float16 a ramp whose color does not change used to look like noise."""
    ramp = torch.linspace(10, 117, 128).round()
    ramp = ramp + ramp[:, None]
    picture = torch.stack([ramp, ramp + 13, ramp - 20])[None] / 255
    statistics = CropStatistics()
    exact, half = statistics(picture), picture.half().float()
    with RoundedToHalf():
        rounded = statistics(half)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05)
