"""Smoothing moves factors between neighbors: in full precision nothing changes, moments follow."""

import pytest
import torch
from torch import nn

from pocketcrafter.quantize.moments import Watcher
from pocketcrafter.quantize.smoothing import smoothed
from pocketcrafter.runtime.errors import ConfigError


def test_nothing_changes_but_where_the_factor_is() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(32, bias=False), nn.Linear(32, 64, bias=False), nn.Linear(64, 8, bias=False))
    nn.init.uniform_(model.get_parameter("0.weight"), 0.1, 4)
    x, watcher = torch.randn(200, 32), Watcher()
    with torch.no_grad(), watcher.watching(model):
        right = model(x)
    made, moments = smoothed(model, {"0": ["1"], "1": ["2"]}, watcher.moments(), 0.5)
    again = Watcher()
    with torch.no_grad(), again.watching(made):
        torch.testing.assert_close(made(x), right, atol=1e-5, rtol=1e-4)
    for name in ("1", "2"):
        torch.testing.assert_close(moments[name], again.moments()[name], atol=1e-5, rtol=1e-3)
        spread = [m[name].diagonal().sqrt().log().std() for m in (watcher.moments(), moments)]
        assert spread[1] < 0.7 * spread[0]
    with pytest.raises(ConfigError, match="moments of 2"):
        smoothed(model, {"1": ["2"]}, {}, 0.5)
