"""Edge directions: a known tilt is read off its bin, whatever the letterbox, and nothing off a blank picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from pocketcrafter.export.models.orientation import ANGLES, CELLS, FAMILIES, MAPS, Orientation, angles
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box
from pocketcrafter.runtime.geometry.view import letterboxed

NETWORK = Orientation()


def mean_angles(pixels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean angle and mass of each map."""
    view, inside = (torch.from_numpy(a) for a in letterboxed(pixels))
    evidence = NETWORK(view, inside).reshape(MAPS, ANGLES, CELLS, CELLS).mean((2, 3))
    mass = evidence.sum(1)
    return (evidence * angles()).sum(1) / (mass + 1e-6), mass


def house(tilt: float) -> np.ndarray:
    """A horizon and an upright wall, tilted so that a clockwise turn by ``tilt`` levels them."""
    pixels = np.full((600, 900, 3), 80, np.uint8)
    pixels[400:] = 190
    pixels[150:400, 350:430] = (200, 120, 120)
    return cut(pixels, inscribed_box(900, 600, tilt), -tilt)


@pytest.mark.parametrize("tilt", [-8.0, -3.3, -0.4, 0.7, 5.0])
def test_every_map_reads_a_known_tilt(tilt: float) -> None:
    read, mass = mean_angles(house(tilt))
    assert mass.min() > 0.5
    assert torch.all((read - tilt).abs() < 0.5)


def test_a_portrait_photo_reads_as_a_landscape_does() -> None:
    upright = np.ascontiguousarray(house(4.0)[:, 150:450])
    read, mass = mean_angles(upright)
    assert torch.all((read - 4.0).abs()[mass > 0.5] < 0.6)


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
