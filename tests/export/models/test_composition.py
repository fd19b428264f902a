"""The composition network: its contract, and what it must not depend on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketcrafter.export.models import load_component
from pocketcrafter.export.models.backbone import moments
from pocketcrafter.export.models.composition import Composition, moments_inside
from pocketcrafter.runtime.arrays import PixelArray
from pocketcrafter.runtime.geometry.decide import SURE
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box, letterboxed, working_copy
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket

SPEC = POCKET_SPECS[Pocket.COMPOSITION]
PHOTOS = Path(__file__).parents[2] / "photos"
SHIPPED = Path(__file__).parents[3] / "export" / "weights" / "composition.safetensors"


def test_outputs_are_as_the_contract_says_and_the_network_is_small() -> None:
    torch.manual_seed(0)
    network = Composition().eval()
    with torch.no_grad():
        outputs = network(*(torch.rand(spec.shape) for spec in SPEC.inputs))
    for output, spec in zip(outputs, SPEC.outputs, strict=True):
        assert output.shape == spec.shape
    assert 0 <= outputs[1].item() <= 1
    assert sum(p.numel() for p in network.parameters()) < 2_500_000


def test_the_letterbox_is_not_looked_at_by_the_moments() -> None:
    """What stands beside the picture, and how much of it, is not the picture's."""
    torch.manual_seed(1)
    inside = torch.zeros(1, 1, 256, 256)
    inside[..., 64:192, :] = 1
    maps = [torch.rand(1, 5, side, side) for side in (16, 8)]
    picture = [m[..., m.shape[2] // 4 : -m.shape[2] // 4, :] for m in maps]
    wanted = torch.cat([moments(m) for m in picture], 1)
    torch.testing.assert_close(moments_inside(maps, inside), wanted, atol=5e-3, rtol=0)
    for m in maps:
        m[..., : m.shape[2] // 4, :] = 7
    torch.testing.assert_close(moments_inside(maps, inside), wanted, atol=5e-3, rtol=0)


def said_of(pixels: PixelArray, tilt: float) -> tuple[float, float]:
    height, width = pixels.shape[:2]
    tilted = cut(pixels, inscribed_box(width, height, tilt), -tilt)
    network = load_component(Pocket.COMPOSITION, SHIPPED)
    with torch.no_grad():
        degrees, confidence, _ = network(*(torch.from_numpy(a) for a in letterboxed(working_copy(Photo(tilted)))))
    return degrees.item(), confidence.item()


@pytest.mark.parametrize("tilt", [-6.0, -3.0, 3.0, 6.0])
def test_the_shipped_weights_read_a_bridges_tilt_and_are_sure(tilt: float) -> None:
    with Image.open(PHOTOS / "bridge_dim_and_cool.jpg") as image:
        pixels = np.asarray(image.convert("RGB"))
    level, _ = said_of(pixels, 0.0)
    degrees, confidence = said_of(pixels, tilt)
    assert degrees - level == pytest.approx(tilt, abs=1.5)
    assert confidence >= SURE


@pytest.mark.parametrize("tilt", [-6.0, 3.0, 7.0])
def test_it_is_not_sure_of_a_plain_sea_and_leaves_it(tilt: float) -> None:
    """Between two plain surfaces it sees too little of an angle."""
    pixels = np.full((600, 900, 3), (120, 160, 220), np.uint8)
    pixels[380:] = (40, 60, 90)
    noise = np.random.default_rng(0).integers(-6, 7, pixels.shape)
    _, confidence = said_of((pixels + noise).astype(np.uint8), tilt)
    assert confidence < SURE
