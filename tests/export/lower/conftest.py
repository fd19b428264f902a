from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.lower.request import Sample
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.pocket import Pocket


class TinyRestore(nn.Module):
    """The artists' parts: space-to-depth, FiLM, hard-swish, depthwise, a strided step down, a shuffle up."""

    def __init__(self) -> None:
        super().__init__()
        self.condition = nn.Linear(3, 8)
        self.head = nn.Conv2d(12, 16, 3, padding=1)
        self.expand = nn.Conv2d(16, 32, 1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.scale, self.shift = nn.Linear(8, 32), nn.Linear(8, 32)
        self.project = nn.Conv2d(32, 16, 1)
        self.down, self.up = nn.Conv2d(16, 24, 2, 2), nn.Conv2d(24, 64, 1)
        self.tail = nn.Conv2d(16, 12, 3, padding=1)

    def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
        condition = F.hardswish(self.condition(amounts))
        x = self.head(F.pixel_unshuffle(tile, 2))
        y = self.depthwise(F.hardswish(self.expand(x)))
        y = y * self.scale(condition).reshape(1, -1, 1, 1) + self.shift(condition).reshape(1, -1, 1, 1)
        x = x + self.project(F.hardswish(y))
        x = F.pixel_shuffle(self.up(self.down(x)), 2) + x
        return tile + F.pixel_shuffle(self.tail(x), 2) * 0.1


@pytest.fixture(scope="session")
def make_restore() -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return TinyRestore().eval()

    return make


@pytest.fixture
def restore(make_restore: Callable[[], nn.Module]) -> nn.Module:
    return make_restore()


@pytest.fixture(scope="session")
def spec() -> ComponentSpec:
    tile = TensorSpec(name="tile", shape=(1, 3, 32, 32), semantics="picture")
    amounts = TensorSpec(name="amounts", shape=(1, 3), semantics="amounts")
    restored = TensorSpec(name="restored", shape=(1, 3, 32, 32), semantics="picture")
    return ComponentSpec(name=Pocket.RESTORE, role=Role.EDIT, inputs=(tile, amounts), outputs=(restored,))


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    rng = np.random.default_rng(0)
    # As pipelines make them: the batch axis is added by numpy and has stride 0.
    return [
        {"tile": rng.random((3, 32, 32), np.float32)[None], "amounts": rng.random(3, np.float32)[None]}
        for _ in range(6)
    ]
