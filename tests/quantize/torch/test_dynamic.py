"""Dynamic quantization by torchao: chosen layers only, near the model, which is left as it is."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from pocketcrafter.quantize.config import DynamicInt8
from pocketcrafter.quantize.torch.dynamic import quantize_dynamic_int8
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64, bias=False), nn.SiLU(), nn.Linear(64, 96, bias=False)).eval()


@pytest.mark.parametrize(("bits", "least_db"), [(8, 35), (4, 15)])
def test_it_stays_near_the_model(model: nn.Module, bits: int, least_db: float) -> None:
    x = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = model(x)
        ratio = sqnr_db(before.numpy(), quantize_dynamic_int8(model, DynamicInt8(bits=bits))(x).numpy())
        assert least_db < ratio < 80
        assert torch.equal(model(x), before)


def test_kept_modules_stay_as_they_are(model: nn.Module) -> None:
    quantized = quantize_dynamic_int8(model, DynamicInt8(keep_fp32=("2",)))
    assert torch.equal(quantized.get_parameter("2.weight"), model.get_parameter("2.weight"))
    assert type(quantized.get_parameter("0.weight")) is not nn.Parameter


def test_nothing_to_quantize_is_an_error(model: nn.Module) -> None:
    with pytest.raises(ConfigError, match="no linear layer"):
        quantize_dynamic_int8(model, DynamicInt8(bits=4, keep_fp32=("0", "2")))


def test_int4_scales_are_what_xnnpack_keeps(model: nn.Module) -> None:
    """Guards a trap: XNNPACK casts scales of blocks to bfloat16, and the artifact would not be its simulation."""
    weight = quantize_dynamic_int8(model, DynamicInt8(bits=4)).get_submodule("0").weight
    assert (weight.scale > 0).all()
    assert torch.equal(weight.scale, weight.scale.bfloat16().float())


def test_single_layers_may_have_more_bits_and_never_two(model: nn.Module) -> None:
    x = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        few, mixed = (
            sqnr_db(model(x).numpy(), quantize_dynamic_int8(model, DynamicInt8(bits=4, module_bits=bits))(x).numpy())
            for bits in ({}, {"0": 8})
        )
    assert mixed > few + 1
    with pytest.raises(ValidationError, match="Input should be 8 or 4"):
        DynamicInt8(bits=4, module_bits={"0": 2})


def test_a_group_size_gives_so_many_scales(model: nn.Module) -> None:
    quantized = quantize_dynamic_int8(model, DynamicInt8(bits=4, group_size=64))
    assert quantized.get_submodule("0").weight.scale.shape == (64, 1)
