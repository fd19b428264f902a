from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.quantize.modules import outputs_of
from pocketcrafter.quantize.torch.folding import fold_batchnorm
from pocketcrafter.quantize.torch.pt2e import quantize_static
from pocketcrafter.runtime.errors import ConfigError, GateError
from pocketcrafter.runtime.fidelity import sqnr_db


class NormedResidual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        nn.init.uniform_(self.norm.weight, 0.2, 2)
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.01, 0.1)
        self.project = nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        return y + self.project(F.relu(self.norm(y)))


class TinyRestore(nn.Module):
    """FiLM, hard-swish, space-to-depth, an inner residual, and the picture's own residual at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(12, 16, 3, padding=1), nn.Conv2d(16, 12, 3, padding=1)
        self.body, self.scale = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Linear(3, 16)

    def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
        y = self.head(F.pixel_unshuffle(tile, 2))
        film = self.scale(amounts).reshape(1, 16, 1, 1)
        y = y + self.body(F.hardswish(y)) * film
        return tile + F.pixel_shuffle(self.tail(y), 2) * 0.1


@pytest.fixture
def restore() -> nn.Module:
    torch.manual_seed(0)
    return TinyRestore().eval().requires_grad_(False)


def _tiles(count: int) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    return [(torch.rand(1, 3, 32, 32), torch.rand(1, 3)) for _ in range(count)]


def _quantized_operators(model: GraphModule, kind: Callable[..., Tensor]) -> int:
    """Count the operators of a kind whose operands are all dequantized and whose result is quantized at once."""
    found = [n for n in model.graph.nodes if n.target is kind]
    return sum(
        all("dequantize" in str(operand) for operand in n.args[:2]) and all("quantize" in str(u) for u in n.users)
        for n in found
    )


def test_batchnorm_under_a_residual_is_refused_instead_of_broken_silently() -> None:
    """Guards trap A: what `prepare_pt2e` makes of this block is wrong before anything is quantized."""
    torch.manual_seed(0)
    model = NormedResidual().eval().requires_grad_(False)
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(GateError, match="fold_batchnorm"):
        quantize_static(model, [(x,)])
    folded = quantize_static(fold_batchnorm(model), [(x,)])
    assert sqnr_db(model(x).numpy(), folded(x).numpy()) > 25


def test_unseen_samples_stay_close(restore: nn.Module) -> None:
    *seen, unseen = _tiles(5)
    quantized = quantize_static(restore, seen)
    assert 30 < sqnr_db(restore(*unseen).numpy(), quantized(*unseen).numpy()) < 80


def test_the_picture_is_never_rounded_to_8_bits(restore: nn.Module) -> None:
    """With the correction switched off the tile must come through bit by bit."""
    nn.init.zeros_(restore.tail.weight)
    nn.init.zeros_(restore.tail.bias)
    samples = _tiles(2)
    quantized = quantize_static(restore, samples)
    assert torch.equal(quantized(*samples[0]), samples[0][0])


def test_film_and_inner_residual_are_int8(restore: nn.Module) -> None:
    quantized = quantize_static(restore, _tiles(2))
    assert _quantized_operators(quantized, torch.ops.aten.conv2d.default) == 3
    assert _quantized_operators(quantized, torch.ops.aten.mul.Tensor) == 1
    assert _quantized_operators(quantized, torch.ops.aten.add.Tensor) == 1


def test_kept_modules_stay_float_and_so_does_what_joins_them(restore: nn.Module) -> None:
    quantized = quantize_static(restore, _tiles(2), StaticInt8(keep_fp32=("body",)))
    assert _quantized_operators(quantized, torch.ops.aten.conv2d.default) == 2
    assert _quantized_operators(quantized, torch.ops.aten.add.Tensor) == 0


def test_module_names_are_matched_whole(restore: nn.Module) -> None:
    with pytest.raises(ConfigError, match="bod"):
        quantize_static(restore, _tiles(1), StaticInt8(keep_fp32=("bod",)))


def test_calibration_is_required(restore: nn.Module) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        quantize_static(restore, [])


def test_progress_reaches_the_last_sample(restore: nn.Module) -> None:
    told: list[tuple[int, int]] = []
    quantize_static(restore, _tiles(3), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_outputs_of_names_one_or_many() -> None:
    one = torch.zeros(1)
    assert outputs_of(one) == (one,)
    assert outputs_of([one, one]) == (one, one)
