"""Dynamic quantization by torchao: chosen layers only, near the model, which is left as it is."""

import pytest
import torch
from torch import nn

from pocketcrafter.quantize.weight_int import quantize_linears
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
        ratio = sqnr_db(before.numpy(), quantize_linears(model, bits)(x).numpy())
        assert least_db < ratio < 80
        assert torch.equal(model(x), before)


def test_kept_modules_stay_as_they_are(model: nn.Module) -> None:
    quantized = quantize_linears(model, 8, keep_fp32=("2",))
    assert torch.equal(quantized.get_parameter("2.weight"), model.get_parameter("2.weight"))
    assert type(quantized.get_parameter("0.weight")) is not nn.Parameter


def test_nothing_to_quantize_is_an_error(model: nn.Module) -> None:
    with pytest.raises(ConfigError, match="no linear layer"):
        quantize_linears(model, 4, keep_fp32=("0", "2"))
