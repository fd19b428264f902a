"""Smoothing moves factors between neighbors: the float network computes the same, and its Hessians follow."""

import pytest
import torch
from torch import nn

from pocketcrafter.quantize.algorithms.equalization import smoothed
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.runtime.errors import ConfigError


def test_nothing_changes_but_where_the_factor_is() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(32, bias=False), nn.Linear(32, 64, bias=False), nn.Linear(64, 8, bias=False))
    nn.init.uniform_(model.get_parameter("0.weight"), 0.1, 4)
    x, collector = torch.randn(200, 32), HessianCollector()
    with torch.no_grad(), collector.attached(model):
        right = model(x)
    made, hessians = smoothed(model, {"0": ["1"], "1": ["2"]}, collector.hessians(), 0.5)
    again = HessianCollector()
    with torch.no_grad(), again.attached(made):
        torch.testing.assert_close(made(x), right, atol=1e-5, rtol=1e-4)
    for name in ("1", "2"):
        torch.testing.assert_close(hessians[name], again.hessians()[name], atol=1e-5, rtol=1e-3)
        spread = [m[name].diagonal().sqrt().log().std() for m in (collector.hessians(), hessians)]
        assert spread[1] < 0.7 * spread[0]
    with pytest.raises(ConfigError, match="Hessians of 2"):
        smoothed(model, {"1": ["2"]}, {}, 0.5)
