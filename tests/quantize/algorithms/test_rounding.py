"""Rounding weights in blocks: nearest, by GPTQ, with bits and scales that targets have."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pocketcrafter.quantize.algorithms.blocks import GROUP_SIZE, IntegerFormat, round_to_nearest
from pocketcrafter.quantize.algorithms.hessians import HessianCollector, read_hessians, write_hessians
from pocketcrafter.quantize.algorithms.rounding import round_gptq, round_linears
from pocketcrafter.quantize.config import Nearest, WeightOnly
from pocketcrafter.runtime.errors import ConfigError

ROWS, COLUMNS = 24, 96
INT4 = IntegerFormat(4)


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
    group_size=st.sampled_from([16, 32, 64]),
)
def test_no_weight_is_further_away_than_clipping_explains(
    bits: int, seed: int, spread: float, positive: bool, brief: bool, group_size: int
) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).normal(0, spread, (3, 2 * GROUP_SIZE)))
    integers = IntegerFormat(bits, group_size, positive_scales=positive, bfloat16_scales=brief)
    blocks = round_to_nearest(weight, integers)
    low, high = integers.limits
    assert blocks.levels.min() >= low
    assert blocks.levels.max() <= high
    steps = blocks.scales.repeat_interleave(group_size, 1)
    inner = (blocks.levels > low) & (blocks.levels < high)
    assert ((blocks.weight() - weight).abs() <= steps.abs() * 0.5001)[inner].all()
    if positive:
        assert (blocks.scales > 0).all()
    if brief:
        assert torch.equal(blocks.scales, blocks.scales.bfloat16().float())


def test_levels_are_returned_as_they_are(weight: Tensor) -> None:
    blocks = round_to_nearest(weight, INT4)
    again = round_to_nearest(blocks.weight(), INT4)
    assert torch.allclose(again.weight(), blocks.weight(), atol=1e-6)


def test_an_important_input_is_rounded_with_more_care(weight: Tensor) -> None:
    importance = torch.ones(COLUMNS)
    importance[7] = 1e4
    plain, careful = (round_to_nearest(weight, INT4, i).weight() for i in (None, importance))
    assert (careful - weight)[:, 7].square().mean() < (plain - weight)[:, 7].square().mean() / 2


@pytest.mark.parametrize(("bits", "group_size", "share"), [(2, 32, 0.5), (4, 32, 0.5), (4, 16, 0.5)])
def test_gptq_leaves_less_error_in_the_products(
    weight: Tensor, inputs: Tensor, bits: int, group_size: int, share: float
) -> None:
    hessian = (inputs.T.double() @ inputs.double()) / len(inputs)
    integers = IntegerFormat(bits, group_size)
    rounded = round_gptq(weight, hessian, integers, 0.1).weight()
    assert error(weight, rounded, inputs) < share * error(weight, round_to_nearest(weight, integers).weight(), inputs)


def test_gptq_with_unrelated_inputs_is_the_nearest_level(weight: Tensor) -> None:
    blocks = round_gptq(weight, torch.eye(COLUMNS), INT4, 0.1)
    assert torch.equal(blocks.levels, round_to_nearest(weight, INT4).levels)


@pytest.mark.parametrize(
    ("hessian", "message"), [(torch.zeros(COLUMNS, COLUMNS), "0 or not finite"), (torch.eye(4), "Hessian of 96")]
)
def test_a_useless_hessian_is_refused(weight: Tensor, hessian: Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        round_gptq(weight, hessian, INT4, 0.1)


def test_a_weight_without_whole_blocks_or_with_a_nan_is_refused(weight: Tensor) -> None:
    with pytest.raises(ConfigError, match="groups of 32 inputs"):
        round_to_nearest(weight[:, :40], INT4)
    weight[0, 0] = torch.nan
    with pytest.raises(ConfigError, match="not finite"):
        round_to_nearest(weight, INT4)


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
    blocks = round_linears(network, WeightOnly(bits=4, module_bits={"2": 8}, keep_fp32=("3",)), hessians)
    assert {name: b.bits for name, b in blocks.items()} == {"0": 4, "2": 8}
    assert blocks["0"].size == 64 * 64 // 2 + 4 * 64 * 2


def test_bits_of_a_module_that_is_not_there_are_refused(network: nn.Sequential) -> None:
    with pytest.raises(ConfigError, match="weight_bits names no module"):
        round_linears(network, WeightOnly(bits=4, module_bits={"9": 8}))


def test_a_larger_group_has_fewer_scales_and_skips_layers_it_does_not_divide(network: nn.Sequential) -> None:
    blocks = round_linears(network, WeightOnly(bits=4, group_size=64))
    assert {name: tuple(b.scales.shape) for name, b in blocks.items()} == {"0": (64, 1), "2": (32, 1)}


def test_nearest_needs_no_hessian_and_uses_none(network: nn.Sequential) -> None:
    x = torch.randn(200, 64) @ torch.randn(64, 64)
    hessians = {"0": (x.T @ x).double()}
    nearest, gptq = (
        round_linears(network, scheme, hessians)["0"].levels
        for scheme in (WeightOnly(bits=4, rounding=Nearest()), WeightOnly(bits=4))
    )
    assert torch.equal(nearest, round_linears(network, WeightOnly(bits=4))["0"].levels)
    assert not torch.equal(nearest, gptq)


def test_less_damping_follows_the_calibration_data_more_closely(weight: Tensor, inputs: Tensor) -> None:
    few = inputs[:64]
    hessian = (few.T.double() @ few.double()) / len(few)
    loose, strict = (error(weight, round_gptq(weight, hessian, INT4, d).weight(), few) for d in (1.0, 0.001))
    assert strict < loose
