"""The block of the artist's networks: a norm-free inverted residual with FiLM."""

from typing import Final

from torch import Tensor, nn

_EXPANSION: Final = 2


class FilmBlock(nn.Module):
    """Inverted residual (1×1 expand, depthwise 3×3, 1×1 project) whose hidden channels a condition scales and shifts.

    No normalisation: its statistics would change with the tile, and none is needed at this depth (Brock et al., ICML
    2021). FiLM: Perez et al., AAAI 2018.
    """

    def __init__(self, channels: int, condition: int, activate: nn.Module) -> None:
        super().__init__()
        hidden = _EXPANSION * channels
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.scale = nn.Linear(condition, hidden)
        self.shift = nn.Linear(condition, hidden)
        self.project = nn.Conv2d(hidden, channels, 1)
        self.activate = activate
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)
        nn.init.ones_(self.scale.bias)
        nn.init.normal_(self.project.weight, std=0.1 / hidden**0.5)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map ``(B, channels, H, W)`` and ``(B, condition)`` to ``(B, channels, H, W)``."""
        y = self.depthwise(self.activate(self.expand(x)))
        film = (-1, y.shape[1], 1, 1)
        y = y * self.scale(condition).reshape(film) + self.shift(condition).reshape(film)
        change: Tensor = self.project(self.activate(y))
        return x + change
