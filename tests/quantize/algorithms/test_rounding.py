"""Rounding weights in blocks: nearest, by GPTQ, with bits and scales that targets have."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.blocks import BLOCK, limits, nearest
from pocketcrafter.quantize.algorithms.gptq import round_gptq
from pocketcrafter.quantize.algorithms.hessians import HessianCollector, read_hessians, write_hessians
from pocketcrafter.quantize.algorithms.rounding import Guidance, blocks_of
from pocketcrafter.runtime.errors import ConfigError

ROWS, COLUMNS = 24, 96


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def inputs() -> Tensor:
    """Inputs that hang together, as a layer's do: GPTQ has nothing to gain from others."""
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(COLUMNS, COLUMNS, generator=generator) * torch.logspace(0, -2, COLUMNS)[:, None]
    return torch.randn(2048, COLUMNS, generator=generator) @ mixing


def error(weight: Tensor, rounded: Tensor, inputs: Tensor) -> float:
    return float(((weight - rounded) @ inputs.T).square().mean())


@given(
    bits=st.sampled_from([2, 4, 8]),
    seed=st.integers(0, 99),
    spread=st.floats(1e-6, 1e6),
    positive=st.booleans(),
    brief=st.booleans(),
)
def test_no_weight_is_further_away_than_clipping_explains(
    bits: int, seed: int, spread: float, positive: bool, brief: bool
) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).normal(0, spread, (3, 2 * BLOCK)))
    blocks = nearest(weight, bits, positive=positive, brief=brief)
    low, high = limits(bits)
    assert blocks.levels.min() >= low
    assert blocks.levels.max() <= high
    steps = blocks.scales.repeat_interleave(BLOCK, 1)
    inner = (blocks.levels > low) & (blocks.levels < high)
    assert ((blocks.weight() - weight).abs() <= steps.abs() * 0.5001)[inner].all()
    if positive:
        assert (blocks.scales > 0).all()
    if brief:
        assert torch.equal(blocks.scales, blocks.scales.bfloat16().float())


def test_levels_are_returned_as_they_are(weight: Tensor) -> None:
    blocks = nearest(weight, 4)
    again = nearest(blocks.weight(), 4)
    assert torch.allclose(again.weight(), blocks.weight(), atol=1e-6)


def test_an_important_input_is_rounded_with_more_care(weight: Tensor) -> None:
    importance = torch.ones(COLUMNS)
    importance[7] = 1e4
    plain, careful = (nearest(weight, 4, i).weight() for i in (None, importance))
    assert (careful - weight)[:, 7].square().mean() < (plain - weight)[:, 7].square().mean() / 2


@pytest.mark.parametrize(("bits", "share"), [(2, 0.5), (4, 0.5)])
def test_gptq_leaves_less_error_in_the_products(weight: Tensor, inputs: Tensor, bits: int, share: float) -> None:
    hessian = (inputs.T.double() @ inputs.double()) / len(inputs)
    rounded = round_gptq(weight, hessian, bits).weight()
    assert error(weight, rounded, inputs) < share * error(weight, nearest(weight, bits).weight(), inputs)


def test_gptq_with_unrelated_inputs_is_the_nearest_level(weight: Tensor) -> None:
    blocks = round_gptq(weight, torch.eye(COLUMNS), 4)
    assert torch.equal(blocks.levels, nearest(weight, 4).levels)


@pytest.mark.parametrize(
    ("hessian", "message"), [(torch.zeros(COLUMNS, COLUMNS), "0 or not finite"), (torch.eye(4), "Hessian of 96")]
)
def test_a_useless_hessian_is_refused(weight: Tensor, hessian: Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        round_gptq(weight, hessian, 4)


def test_a_weight_without_whole_blocks_or_with_a_nan_is_refused(weight: Tensor) -> None:
    with pytest.raises(ConfigError, match="whole blocks of 32"):
        nearest(weight[:, :40], 4)
    weight[0, 0] = torch.nan
    with pytest.raises(ConfigError, match="not finite"):
        nearest(weight, 4)


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.Linear(32, 5), nn.Linear(5, 5))


def test_a_collector_sees_what_goes_in(network: nn.Sequential) -> None:
    collector, x = HessianCollector(), torch.randn(40, 64)
    with collector.attached(network):
        network(x[:10])
        network(x[10:])
    network(100 * x)
    hessians = collector.hessians()
    assert set(hessians) == {"0", "2", "3", "4"}
    assert torch.allclose(hessians["0"], (x.T @ x).double() / 40, atol=1e-5)
    hidden = network[:2](x)
    assert torch.allclose(hessians["2"], (hidden.T @ hidden).double() / 40, atol=1e-5)


def test_rows_that_come_one_by_one_count_as_those_that_come_together(network: nn.Sequential) -> None:
    """A decoder that writes brings them so; they wait for each other, and none is left waiting or counted twice."""
    singly, together, x = HessianCollector(), HessianCollector(), torch.randn(600, 64)
    with singly.attached(network), torch.no_grad():
        for count, row in enumerate(x, start=1):
            network(row[None])
            if count == 300:
                singly.hessians()
    with together.attached(network), torch.no_grad():
        network(x)
    expected = together.hessians()
    assert all(torch.allclose(hessian, expected[name], atol=1e-5) for name, hessian in singly.hessians().items())


def test_hessians_survive_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "hessians.npz"
    write_hessians(path, {"a.b": torch.eye(3).double()})
    assert torch.equal(read_hessians(path)["a.b"], torch.eye(3).double())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigError, match="cannot be read as Hessians"):
        read_hessians(path)


def test_bits_of_single_modules_and_layers_that_stay(network: nn.Sequential) -> None:
    hessians = {"0": torch.eye(64).double()}
    blocks = blocks_of(network, 4, Guidance(hessians, {"2": 8}), keep_fp32=("3",))
    assert {name: b.bits for name, b in blocks.items()} == {"0": 4, "2": 8}
    assert blocks["0"].size == 64 * 64 // 2 + 4 * 64 * 2


@pytest.mark.parametrize(("bits", "message"), [({"9": 8}, "weight_bits names no module"), ({"0": 5}, "2, 4 or 8")])
def test_bits_that_do_not_exist_are_refused(network: nn.Sequential, bits: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        blocks_of(network, 4, Guidance(bits=bits))
