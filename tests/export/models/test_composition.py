"""The composition network: its contract, and what it must not depend on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pocketcrafter.export.models import load_component
from pocketcrafter.export.models.backbone import moments
from pocketcrafter.export.models.composition import Composition, moments_inside
from pocketcrafter.runtime.geometry.turn import cut, inscribed_box, letterboxed
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket

SPEC = POCKET_SPECS[Pocket.COMPOSITION]
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


@pytest.mark.parametrize("tilt", [-6.0, -2.0, 3.0, 7.0])
def test_the_shipped_weights_level_a_plain_horizon_and_are_sure(tilt: float) -> None:
    pixels = np.full((600, 900, 3), (120, 160, 220), np.uint8)
    pixels[380:] = (40, 60, 90)
    noise = np.random.default_rng(0).integers(-6, 7, pixels.shape)
    tilted = cut((pixels + noise).astype(np.uint8), inscribed_box(900, 600, tilt), -tilt)
    network = load_component(Pocket.COMPOSITION, SHIPPED)
    with torch.no_grad():
        said, confidence, _ = network(*(torch.from_numpy(a) for a in letterboxed(tilted)))
    assert said.item() == pytest.approx(tilt, abs=1.5)
    assert confidence.item() > 0.5
