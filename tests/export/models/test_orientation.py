"""Edge directions: a known tilt is read off its bin, whatever the letterbox, and nothing off a blank picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from pocketcrafter.export.models.composition import ANGLES, CELLS, FAMILIES, MAPS, Orientation, angles
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box, letterboxed

NETWORK = Orientation()


def mean_angles(pixels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean angle and mass of each map."""
    view, inside = (torch.from_numpy(a) for a in letterboxed(pixels))
    evidence = NETWORK(view, inside).reshape(MAPS, ANGLES, CELLS, CELLS).mean((2, 3))
    mass = evidence.sum(1)
    return (evidence * angles()).sum(1) / (mass + 1e-6), mass


def tilted(pixels: np.ndarray, tilt: float) -> np.ndarray:
    """Tilt a level picture so that a clockwise turn by ``tilt`` levels it again."""
    height, width = pixels.shape[:2]
    return cut(pixels, inscribed_box(width, height, tilt), -tilt)


def horizon() -> np.ndarray:
    pixels = np.full((600, 900, 3), 80, np.uint8)
    pixels[400:] = 190
    return pixels


def wall() -> np.ndarray:
    pixels = np.full((600, 900, 3), 80, np.uint8)
    pixels[:, 300:500] = (200, 120, 120)
    return pixels


@pytest.mark.parametrize(("picture", "family"), [(horizon(), 0), (wall(), 1)], ids=["horizon", "wall"])
@pytest.mark.parametrize("tilt", [-8.0, -3.3, -0.4, 0.7, 5.0])
def test_every_map_of_its_family_reads_a_known_tilt_and_the_others_nothing(
    tilt: float, picture: np.ndarray, family: int
) -> None:
    read, mass = mean_angles(tilted(picture, tilt))
    assert mass[family::FAMILIES].min() > 0.3
    assert torch.all((read[family::FAMILIES] - tilt).abs() < 0.5)
    assert mass[1 - family :: FAMILIES].max() < 1e-3


def test_an_upright_photo_reads_as_a_wide_one_does() -> None:
    upright = np.ascontiguousarray(tilted(horizon(), 4.0)[:, 250:550])
    read, mass = mean_angles(upright)
    assert mass[0::FAMILIES].min() > 0.1
    assert torch.all((read[0::FAMILIES] - 4.0).abs() < 0.5)


def test_neither_a_blank_picture_nor_its_letterbox_has_edges() -> None:
    _, mass = mean_angles(np.full((300, 900, 3), 230, np.uint8))
    assert mass.max() < 1e-3


def test_equally_bright_colors_have_an_edge_too() -> None:
    """A sea and a sky of one luma: only the colors differ."""
    pixels = np.empty((400, 600, 3), np.uint8)
    pixels[:200], pixels[200:] = (60, 120, 200), (120, 111, 77)
    luma = np.asarray(Image.fromarray(pixels).convert("L"), dtype=int)
    assert abs(luma[0, 0] - luma[-1, 0]) <= 6
    read, mass = mean_angles(pixels)
    level = read[0::FAMILIES]
    assert mass[0::FAMILIES].min() > 0.5
    assert level.abs().max() < 0.2
