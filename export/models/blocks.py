"""The blocks of the artist's networks: norm-free inverted residuals that a condition steers."""

from typing import Final, TypeVar

import torch
from torch import Tensor, nn

_Network = TypeVar("_Network", bound=nn.Module)
_EXPANSION: Final = 2


def channels_last(network: _Network, device: torch.device | None = None) -> _Network:
    """Move a network to a device with its convolutions' weights channels last, the faster order everywhere.

    Parameters
    ----------
    network
        Changed in place, as `torch.nn.Module.to` does.
    device
        Where to; it stays where it is when not given.
    """
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return] # torch's stubs lack the keyword


class _InvertedResidual(nn.Module):
    """1×1 expand, depthwise 3×3, 1×1 project, and a factor that a condition gives for some of its channels.

    No normalisation: its statistics would change with the tile, and none is needed at this depth (Brock et al., ICML
    2021).
    """

    def __init__(self, channels: int, condition: int, activate: nn.Module, *, scaled: int) -> None:
        super().__init__()
        hidden = _EXPANSION * channels
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.scale = nn.Linear(condition, scaled)
        self.project = nn.Conv2d(hidden, channels, 1)
        self.activate = activate
        nn.init.zeros_(self.scale.weight)
        nn.init.ones_(self.scale.bias)
        nn.init.normal_(self.project.weight, std=0.1 / hidden**0.5)


class FilmBlock(_InvertedResidual):
    """Inverted residual whose hidden channels a condition scales and shifts (FiLM: Perez et al., AAAI 2018).

    Parameters
    ----------
    channels
        In and out.
    condition
        Width of the condition.
    activate
        Follows the first two convolutions.
    """

    def __init__(self, channels: int, condition: int, activate: nn.Module) -> None:
        super().__init__(channels, condition, activate, scaled=_EXPANSION * channels)
        self.shift = nn.Linear(condition, _EXPANSION * channels)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map ``(B, channels, H, W)`` and ``(B, condition)`` to ``(B, channels, H, W)``."""
        y = self.depthwise(self.activate(self.expand(x)))
        film = (-1, y.shape[1], 1, 1)
        y = y * self.scale(condition).reshape(film) + self.shift(condition).reshape(film)
        change: Tensor = self.project(self.activate(y))
        return x + change


class ScaledBlock(_InvertedResidual):
    """Inverted residual whose change a condition scales, channel by channel.

    On large pictures FiLM between two convolutions is what INT8 engines run slowest. A factor behind the last one they
    take as a scale of its weights, and they fuse what lies between the others.

    Parameters
    ----------
    channels
        In and out.
    condition
        Width of the condition.
    activate
        Follows the first two convolutions.
    """

    def __init__(self, channels: int, condition: int, activate: nn.Module) -> None:
        super().__init__(channels, condition, activate, scaled=channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map ``(B, channels, H, W)`` and ``(B, condition)`` to ``(B, channels, H, W)``."""
        change: Tensor = self.project(self.activate(self.depthwise(self.activate(self.expand(x)))))
        factor: Tensor = self.scale(condition).reshape(-1, x.shape[1], 1, 1)
        return x + change * factor
