"""The composition network: its contract, and what it must not depend on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pocketcrafter.export.models import load_component
from pocketcrafter.export.models.composition import (
    ANGLES,
    LIMIT_DEGREES,
    PROFILES,
    REACH_DEGREES,
    Composition,
    TiltHead,
)
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


def test_votes_slide_with_the_evidence() -> None:
    """What one tilt teaches holds for every other: shifted profiles give shifted votes."""
    torch.manual_seed(1)
    head = TiltHead().eval()
    profiles = torch.zeros(2, PROFILES, 1, ANGLES)
    bump = torch.rand(PROFILES, 1, 3)
    profiles[0, ..., REACH_DEGREES - 1 : REACH_DEGREES + 2] = bump
    profiles[1, ..., REACH_DEGREES + 1 : REACH_DEGREES + 4] = bump
    with torch.no_grad():
        _, _, votes = head(profiles)
    torch.testing.assert_close(votes[0, 3:-5], votes[1, 5:-3])
    assert votes.shape == (2, 2 * LIMIT_DEGREES + 1)


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
