"""Weights on grids that Core ML packages keep: integers of channels and of blocks, and palettes."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.palettes import palettized
from pocketcrafter.quantize.config import CompressedWeights, WeightGrid
from pocketcrafter.quantize.torch.compressed_weights import compress_weights, compressed_grids


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(32, 64, 3), nn.Conv2d(24, 40, 3), nn.Linear(64, 48))


def _error(before: Tensor, after: Tensor) -> float:
    return float((before - after).square().mean() / before.square().mean())


def test_int4_has_a_scale_for_each_block_and_int8_where_there_are_none(network: nn.Sequential) -> None:
    scheme = CompressedWeights(grid=WeightGrid.INT4)
    quantized, grids = compress_weights(network, scheme), compressed_grids(network, scheme)
    assert grids == {"0.weight": WeightGrid.INT4, "1.weight": WeightGrid.INT8, "2.weight": WeightGrid.INT4}
    blocks = quantized.get_parameter("2.weight").reshape(48, 2, 32)
    steps = blocks / (blocks.abs().amax(2, keepdim=True) / 7)
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert _error(network.get_parameter("1.weight"), quantized.get_parameter("1.weight")) < 1e-4


@pytest.mark.parametrize(("grid", "values", "most"), [(WeightGrid.PALETTE6, 64, 2e-3), (WeightGrid.PALETTE4, 16, 2e-2)])
def test_palettes_have_so_many_values_for_each_group(
    network: nn.Sequential, grid: WeightGrid, values: int, most: float
) -> None:
    quantized = compress_weights(network, CompressedWeights(grid=grid))
    weight = quantized.get_parameter("0.weight")
    assert [len(part.unique()) for part in weight.split(16)] == [values] * 4
    assert len(weight.unique()) > values
    assert len(quantized.get_parameter("1.weight").unique()) == values, "40 channels are no whole groups of 16"
    for name in ("0.weight", "1.weight", "2.weight"):
        assert _error(network.get_parameter(name), quantized.get_parameter(name)) < most
    whole = compress_weights(network, CompressedWeights(grid=grid, grouped_palettes=False))
    assert len(whole.get_parameter("0.weight").unique()) == values


@given(st.integers(0, 1000), st.integers(1, 6), st.floats(0.1, 6.5))
@example(4, 4, 6.5)  # where quantiles got stuck
@settings(max_examples=25, deadline=None)
def test_a_palette_is_no_worse_than_even_steps(seed: int, bits: int, tail: float) -> None:
    drawn = torch.randn(16, 40, generator=torch.Generator().manual_seed(seed))
    weight = drawn.sign() * drawn.abs().pow(tail)
    found = palettized(weight, bits)
    assert len(found.unique()) <= 2**bits
    assert torch.equal(palettized(found, bits), found), "a palette of its own values changes nothing"
    low, high = float(weight.min()), float(weight.max())
    step = (high - low) / (2**bits - 1)
    even = ((weight - low) / step).round() * step + low
    assert _error(weight, found) <= _error(weight, even) + 1e-6


def test_one_value_is_its_own_palette() -> None:
    assert torch.equal(palettized(torch.zeros(16, 4), 4), torch.zeros(16, 4))
