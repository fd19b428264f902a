"""Switches: the network is the eager one when all are off, the artifact's simulation when all are on."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.quantize.algorithms.ranges import SAMPLED_VALUES, clipped_range, sampled_indices
from pocketcrafter.quantize.config import ActivationRange, Entropy, MinMax, Mse, Percentile, StaticInt8
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.quantize.torch.pt2e import quantize_static
from pocketcrafter.quantize.torch.xnnpack import RangeObserver
from pocketcrafter.runtime.errors import CalibrationError, ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Hardswish(), nn.Conv2d(8, 8, 1))
        self.tail = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardswish(self.head(x))
        tail: Tensor = self.tail(y + self.body(y))
        return x + tail


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture
def tiles() -> list[tuple[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.rand(1, 3, 16, 16, generator=generator),) for _ in range(5)]


@pytest.fixture
def board(network: Network, tiles: list[tuple[Tensor]]) -> FakeQuantSwitches:
    return FakeQuantSwitches(network, tiles[:4])


def away_db(network: Network, board: FakeQuantSwitches, tile: tuple[Tensor]) -> float:
    with torch.no_grad():
        return sqnr_db(network(*tile).numpy(), board.run(tile)[0].numpy())


def test_all_on_is_what_is_built_and_all_off_is_eager(
    network: Network, board: FakeQuantSwitches, tiles: list[tuple[Tensor]]
) -> None:
    with torch.no_grad():
        built = quantize_static(network, tiles[:4])(*tiles[4])
    torch.testing.assert_close(board.run(tiles[4])[0], built)
    board.only(())
    assert away_db(network, board, tiles[4]) > 120


def test_fewer_quantized_modules_do_less_harm(
    network: Network, board: FakeQuantSwitches, tiles: list[tuple[Tensor]]
) -> None:
    assert {"head", "tail", "body.0", "body.2"} <= set(board.modules)
    everything = away_db(network, board, tiles[4])
    board.all_but(("body",))
    kept = away_db(network, board, tiles[4])
    board.only(("tail",))
    one = away_db(network, board, tiles[4])
    assert everything < kept < one < 100


def test_it_can_be_trained_through(network: Network, board: FakeQuantSwitches, tiles: list[tuple[Tensor]]) -> None:
    parameters = dict(board.graph.named_parameters())
    assert set(parameters) == set(dict(network.named_parameters()))
    tile = tiles[4][0]
    wanted = (tile + 0.5 * (network(tile) - tile)).detach()
    optimizer = torch.optim.Adam(parameters.values(), lr=1e-3)
    losses = []
    for _ in range(60):
        loss = (board.graph(*tiles[4]) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.1 * losses[0]


def test_too_little_or_constant_calibration_is_refused(network: Network, tiles: list[tuple[Tensor]]) -> None:
    with pytest.raises(CalibrationError, match=r"at least 4 .* got 3"):
        FakeQuantSwitches(network, tiles[:3])
    with pytest.raises(CalibrationError, match=r"0\.5 everywhere"):
        FakeQuantSwitches(network, [(torch.full((1, 3, 16, 16), 0.5),)] * 4)
    with pytest.raises(CalibrationError, match="not finite"):
        FakeQuantSwitches(network, [*tiles[:3], (torch.full((1, 3, 16, 16), torch.nan),)])
    with pytest.raises(ConfigError, match="no module"):
        FakeQuantSwitches(network, tiles, StaticInt8(keep_fp32=("neck",)))


@pytest.mark.parametrize("how", [MinMax(), Percentile(), Mse(), Entropy()])
def test_a_range_keeps_what_is_there(how: ActivationRange) -> None:
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    low, high = clipped_range(how, [values])
    assert -6 < low < -2
    assert 2 < high < 6


@pytest.mark.parametrize("how", [Percentile(), Entropy()])
def test_a_range_lets_go_of_one_outlier(how: ActivationRange) -> None:
    values = torch.randn(60_000, generator=torch.Generator().manual_seed(0))
    values[3] = 40
    assert clipped_range(MinMax(), [values])[1] == 40
    assert 2 < clipped_range(how, [values])[1] < 20


def test_a_lower_percentile_clips_more() -> None:
    values = torch.randn(60_000, generator=torch.Generator().manual_seed(0))
    narrow, wide = (clipped_range(Percentile(percent=p), [values]) for p in (99, 99.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_a_percentile_is_of_each_sample() -> None:
    """Guards INT8 tone: a hundredth of a hazy frame's values lay beyond what all frames' thousandth had left out."""
    drawn = torch.randn(96, 8192, generator=torch.Generator().manual_seed(0))
    drawn[7, :60] = 12
    _, high = clipped_range(Percentile(), list(drawn))
    assert high == pytest.approx(12)
    assert torch.quantile(drawn, 0.9999) < 5


@pytest.mark.parametrize("width", [64, 171, 512])
def test_what_is_kept_of_a_map_comes_from_all_its_columns(width: int) -> None:
    """Guards a silent trap: even steps through a map whose width they share a divisor with see few columns of it."""
    channels = 32
    kept = sampled_indices(channels * width * width)
    columns = np.bincount(kept % width, minlength=width)
    assert len(kept) == SAMPLED_VALUES
    assert columns.min() > 0
    assert columns.max() < 3 * SAMPLED_VALUES / width
    assert (kept.diff() > 0).all()


def test_an_observer_looks_beyond_the_left_edge() -> None:
    observer = RangeObserver(Percentile(), dtype=torch.int8, qscheme=torch.per_tensor_affine)
    picture = torch.randn(1, 16, 128, 128, generator=torch.Generator().manual_seed(0))
    picture[..., 0::32] *= 0.1
    observer(picture)
    scale, _ = observer.calculate_qparams()
    assert 5 < float(scale) * 255 < 9


def test_a_scalar_is_never_rounded() -> None:
    """Guards a trap of Core ML's route: whole constants become INT8 ones, and a product with them overflows."""

    class Tripled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.layer(x) * 300 / 3) * 3

    torch.manual_seed(0)
    model = Tripled().eval()
    tiles = [(torch.rand(1, 3, 8, 8) * 0.01,) for _ in range(4)]
    board = FakeQuantSwitches(model, tiles)
    assert board.modules == ("layer",)
    with torch.no_grad():
        assert sqnr_db(model(*tiles[0]).numpy(), board.run(tiles[0])[0].numpy()) > 15


@pytest.mark.parametrize(("shape", "room"), [((1, 64), 1.5), ((1, 64, 32, 32), 1.0)])
def test_a_range_of_few_values_gets_room(shape: tuple[int, ...], room: float) -> None:
    observer = RangeObserver(MinMax(), dtype=torch.int8, qscheme=torch.per_tensor_affine)
    observer(torch.linspace(-1, 3, int(np.prod(shape))).reshape(shape))
    scale, zero_point = observer.calculate_qparams()
    assert float(scale) * 255 == pytest.approx(4 * room)
    assert int(zero_point) == -128 + 64
