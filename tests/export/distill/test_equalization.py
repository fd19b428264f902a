"""Equalization: the same network in full precision, a better one in INT8."""

import copy
import json
from pathlib import Path
from statistics import mean

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from pocketcrafter.export.calibration import samples
from pocketcrafter.export.distill.cli import distill
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.export.models import restore_network
from pocketcrafter.export.models.blocks import ScaledBlock
from pocketcrafter.export.models.restore import Restore, RestoreConfig, equalizable_pairs
from pocketcrafter.export.shipped import CALIBRATION_PHOTOS, WEIGHTS
from pocketcrafter.quantize.algorithms import equalization
from pocketcrafter.quantize.algorithms.convolutions import on_integer_grid
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket


def _network(seed: int) -> Restore:
    """Return a network whose hidden channels reach differently far, as training leaves them, and are read that way."""
    torch.manual_seed(seed)
    made = Restore(RestoreConfig(widths=(8, 12, 16), blocks=(1, 1, 1))).eval().requires_grad_(requires_grad=False)
    for module in made.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.weight.normal_(0, 0.7 / module.weight[0].numel() ** 0.5)
        if isinstance(module, ScaledBlock):
            factors = torch.exp(3 * torch.randn(len(module.expand.weight)))
            module.expand.weight.mul_(factors.reshape(-1, 1, 1, 1))
            module.expand.bias.mul_(factors)
            module.project.weight.div_(factors.reshape(1, -1, 1, 1))
    return made


def equalized(network: Restore, samples: list[tuple[Tensor, ...]]) -> Restore:
    return equalization.equalized(network, equalizable_pairs(network), samples)


@pytest.fixture
def network() -> Restore:
    return _network(0)


@pytest.fixture
def tiles() -> list[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.rand(1, 3, 64, 64, generator=generator), torch.rand(1, 3, generator=generator)) for _ in range(6)]


def test_it_computes_the_same(network: Restore, tiles: list[tuple[Tensor, ...]]) -> None:
    before = copy.deepcopy(network.state_dict())
    made = equalized(network, tiles[:4])
    assert sqnr_db(network(*tiles[5]).numpy(), made(*tiles[5]).numpy()) > 100
    hidden = "middle.0.expand.weight"
    assert not torch.equal(made.state_dict()[hidden], before[hidden])
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_channels_that_are_always_0_keep_their_weights(network: Restore, tiles: list[tuple[Tensor, ...]]) -> None:
    """Raised by every equalization anew, they would leave float16."""
    dead = copy.deepcopy(network)
    with torch.no_grad():
        dead.get_parameter("middle.0.expand.bias")[3] = -1e3
    made = equalized(dead, tiles[:2])
    assert made.get_parameter("middle.0.expand.bias")[3] == -1e3


def test_its_channels_reach_equally_far(network: Restore, tiles: list[tuple[Tensor, ...]]) -> None:
    def spread(model: Restore) -> float:
        block = model.encoder[0].get_submodule("0")
        seen: list[Tensor] = []
        handle = block.get_submodule("expand").register_forward_hook(lambda *told: seen.append(told[2].relu()))
        for tile in tiles[:4]:
            model(*tile)
        handle.remove()
        reach = torch.cat(seen).amax((0, 2, 3))
        return float(reach.max() / reach.median())

    assert spread(network) > 3
    assert spread(equalized(network, tiles[:4])) == pytest.approx(1, abs=1e-4)


def test_int8_rounds_it_less(tiles: list[tuple[Tensor, ...]]) -> None:
    tile, amounts = tiles[5]

    def gain(network: Restore) -> float:
        right = (network(tile, amounts) - tile).numpy()
        before, after = (
            FakeQuantSwitches(model, tiles[:4]).run((tile, amounts))[0] - tile
            for model in (network, equalized(network, tiles[:4]))
        )
        return sqnr_db(right, after.numpy()) - sqnr_db(right, before.numpy())

    assert mean(gain(_network(seed)) for seed in range(6)) > 0.5


def test_what_does_not_let_factors_pass_is_refused(network: Restore, tiles: list[tuple[Tensor, ...]]) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        equalized(network, [])
    network.middle.append(ScaledBlock(16, 64, nn.Hardswish()))
    with pytest.raises(ConfigError, match=r"middle\.1 have another"):
        equalized(network, tiles)


def test_the_command_writes_weights_that_compute_the_same(tmp_path: Path) -> None:
    out = tmp_path / "restore.safetensors"
    told = CliRunner().invoke(distill, ["equalize", "--out", str(out), "--samples", "4", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["same_db"] > 60
    tile, amounts = (
        torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)),
        torch.tensor([[0.5, 0.2, 0.1]]),
    )
    shipped, made = (restore_network(path)(tile, amounts).numpy() for path in (WEIGHTS / "restore.safetensors", out))
    # Weights are rounded to INT8's grid anew; on noise that is 54 dB from the rounding before.
    assert sqnr_db(shipped, made) > 50
    refused = CliRunner().invoke(distill, ["equalize", "--out", str(out), "--start", str(tmp_path / "none")])
    assert isinstance(refused.exception, ConfigError)


def test_the_shipped_network_is_equalized() -> None:
    """Training leaves channels that reach differently far: whoever trains it anew must equalize it again."""
    drawn = samples(Pocket.RESTORE, sorted(CALIBRATION_PHOTOS.glob("*.jpg")), WEIGHTS, 6, 20)
    network = restore_network(WEIGHTS / "restore.safetensors")
    block, seen = network.encoder[0].get_submodule("0.expand"), list[Tensor]()
    block.register_forward_hook(lambda *told: seen.append(told[2].relu().amax((0, 2, 3))))
    for sample in drawn:
        network(*as_tensors(sample, POCKET_SPECS[Pocket.RESTORE]))
    reach = torch.stack(seen).amax(0)
    assert float(reach.max() / reach.median()) < 1.5


def test_weights_on_the_grid_are_what_int8_stores(network: Restore, tiles: list[tuple[Tensor, ...]]) -> None:
    made = on_integer_grid(network, tiles[:4])
    for name, layer in made.named_modules():
        if isinstance(layer, nn.Conv2d):
            steps = layer.weight.abs().amax((1, 2, 3), keepdim=True) / 127
            levels = layer.weight / steps.clamp(min=1e-12)
            assert (levels - levels.round()).abs().max() < 1e-3, name


def test_a_mean_far_from_0_does_not_come_through_rounded_weights() -> None:
    """Weights that look for edges add up to nothing, and rounded to nearest no longer do."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(3, 8, 3).requires_grad_(requires_grad=False)
    layer.weight -= layer.weight.mean((1, 2, 3), keepdim=True)
    picture = 0.8 + 0.02 * torch.rand(1, 3, 64, 64, generator=generator)
    nearest = copy.deepcopy(layer)
    steps = layer.weight.abs().amax((1, 2, 3), keepdim=True) / 127
    nearest.weight.copy_((layer.weight / steps).round() * steps)
    right = layer(picture).numpy()
    rounded = on_integer_grid(nn.Sequential(layer), [(picture,)])
    assert sqnr_db(right, rounded(picture).numpy()) > sqnr_db(right, nearest(picture).numpy()) + 6
