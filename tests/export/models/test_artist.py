"""The artist's networks start as the identity, and keep their contracts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketcrafter.export.models.restore import Restore, RestoreConfig, widened
from pocketcrafter.export.models.tone import Tone, slice_grid
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.grid import IDENTITY, slice_exact
from pocketcrafter.runtime.pocket import GRID, POCKET_SPECS, Pocket


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def trained_like_restore() -> Restore:
    """A network whose last layer says something, as after training."""
    torch.manual_seed(0)
    network = Restore()
    torch.nn.init.normal_(network.tail.weight, std=0.02)
    return network.requires_grad_(False)


def test_a_new_tone_network_gives_the_identity_grid_in_the_contracts_shape() -> None:
    torch.manual_seed(0)
    inputs = [rand(*i.shape, seed=n) for n, i in enumerate(POCKET_SPECS[Pocket.TONE].inputs)]
    grid = Tone()(*inputs).detach().numpy()
    assert grid.shape == POCKET_SPECS[Pocket.TONE].outputs[0].shape
    np.testing.assert_array_equal(grid[0], IDENTITY)


def test_slicing_the_identity_returns_the_picture() -> None:
    picture = rand(2, 3, 37, 53)
    grid = torch.from_numpy(IDENTITY).expand(2, *GRID)
    torch.testing.assert_close(slice_grid(grid, picture), picture, atol=1e-6, rtol=0)


@given(seed=st.integers(0, 2**31), height=st.integers(1, 70), width=st.integers(1, 70))
@settings(max_examples=40)
def test_slicing_agrees_with_the_runtime(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    grid = IDENTITY + rng.normal(0, 0.2, GRID).astype(np.float32)
    picture = rng.random((height, width, 3), dtype=np.float32)
    picture.flat[: min(6, picture.size)] = [0, 0, 0, 1, 1, 1][: picture.size]
    ours = slice_grid(torch.from_numpy(grid[None]), torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()))
    np.testing.assert_allclose(ours[0].numpy().transpose(1, 2, 0), slice_exact(grid, picture), atol=1e-4)


def test_the_grid_can_be_learned_through_slicing() -> None:
    grid = torch.from_numpy(IDENTITY[None].copy()).requires_grad_()
    slice_grid(grid, rand(1, 3, 32, 32)).square().sum().backward()
    assert grid.grad is not None
    assert torch.isfinite(grid.grad).all()
    assert (grid.grad[0, :, 3:5] != 0).any()


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_new_restoration_network_is_the_identity_in_any_number_of_steps(steps: int) -> None:
    tile = rand(2, 3, 64, 64)
    torch.testing.assert_close(Restore(RestoreConfig(steps=steps))(tile, rand(2, 3)).detach(), tile)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 80), (512, 32)])
def test_sides_are_any_multiples_of_16(trained_like_restore: Restore, height: int, width: int) -> None:
    restored = trained_like_restore(rand(1, 3, height, width), rand(1, 3))
    assert restored.shape == (1, 3, height, width)
    assert torch.isfinite(restored).all()


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_steps_follow_the_velocity_from_the_photo_on(trained_like_restore: Restore, steps: int) -> None:
    tile, amounts = rand(1, 3, 32, 32), rand(1, 3, seed=1)
    x = tile
    for step in range(steps):
        x = x + trained_like_restore.velocity(x, amounts, torch.full((1, 1), step / steps)) / steps
    torch.testing.assert_close(trained_like_restore.in_steps(steps)(tile, amounts), x)
    assert (x - tile).abs().max() > 1e-3


def test_amounts_and_time_steer_the_velocity() -> None:
    torch.manual_seed(0)
    network = Restore()
    for name, parameter in network.named_parameters():
        if "tail.weight" in name or "scale.weight" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    tile, zero, one = rand(1, 3, 32, 32), torch.zeros(1, 1), torch.ones(1, 1)
    with torch.inference_mode():
        said = [
            network.velocity(tile, a, t)
            for a, t in [(zero.expand(1, 3), zero), (one.expand(1, 3), zero), (zero.expand(1, 3), one)]
        ]
    assert (said[0] - said[1]).abs().max() > 1e-5
    assert (said[0] - said[2]).abs().max() > 1e-5


@pytest.mark.parametrize("config", [RestoreConfig(), RestoreConfig(widths=(32, 48, 100, 160), blocks=(2, 2, 3, 4))])
def test_a_widened_network_computes_what_the_smaller_one_did(
    trained_like_restore: Restore, config: RestoreConfig
) -> None:
    tile, amounts = rand(1, 3, 32, 32), rand(1, 3, seed=1)
    larger = widened(trained_like_restore, config)
    assert larger.config == config
    torch.testing.assert_close(larger(tile, amounts), trained_like_restore(tile, amounts), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [RestoreConfig(widths=(24, 48, 96, 128)), RestoreConfig(blocks=(1, 2, 2, 2))])
def test_a_network_is_not_widened_into_a_smaller_one(trained_like_restore: Restore, config: RestoreConfig) -> None:
    with pytest.raises(ConfigError, match="smaller than"):
        widened(trained_like_restore, config)
