"""The pocket artist's restoration: a U-Net over space-to-depth pixels, trained by conditional flow matching.

The flow is anchored on the photo: t = 0 is the tile as it is, t = 1 the clean one, and the network gives the velocity
between them (rectified flow: Liu et al., ICLR 2023; flow matching: Lipman et al., ICLR 2023).
"""

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.blocks import FilmBlock
from pocketcrafter.runtime.plan import RESTORATION

_FOLD: Final = 2
_CONDITION: Final = 64


class Restore(nn.Module):
    """Restores tiles in a fixed number of Euler steps, unrolled in the graph.

    Parameters
    ----------
    steps
        Euler steps from t = 0 to t = 1.
    widths
        Channels of each level, finest first; each level halves the resolution.
    blocks
        Inverted residuals of each level, on the way down and again on the way up.
    """

    def __init__(
        self, steps: int = 1, widths: tuple[int, ...] = (24, 48, 96, 160), blocks: tuple[int, ...] = (1, 2, 2, 3)
    ) -> None:
        super().__init__()
        self.steps = steps
        pixels = 3 * _FOLD**2
        self.condition = nn.Sequential(
            nn.Linear(len(RESTORATION) + 1, _CONDITION),
            nn.Hardswish(),
            nn.Linear(_CONDITION, _CONDITION),
            nn.Hardswish(),
        )
        self.head = nn.Conv2d(pixels, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(_level(w, b) for w, b in zip(widths[:-1], blocks, strict=False))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in pairwise(widths))
        self.middle = _level(widths[-1], blocks[-1])
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        self.decoder = nn.ModuleList(_level(w, b) for w, b in zip(widths[:-1], blocks, strict=False))
        self.tail = nn.Conv2d(widths[0], pixels, 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
        """Restore tiles.

        Parameters
        ----------
        tile
            Shape ``(B, 3, H, W)``, sRGB-encoded, in [0, 1]; sides are multiples of 16.
        amounts
            denoise, deblur, dejpeg in [0, 1], shape ``(B, 3)``.

        Returns
        -------
        Tensor
            Shape of ``tile``; not clipped.
        """
        x = tile
        for step in range(self.steps):
            time = torch.full((tile.shape[0], 1), step / self.steps, dtype=tile.dtype, device=tile.device)
            x = x + self.velocity(x, amounts, time) * (1 / self.steps)
        return x

    def velocity(self, x: Tensor, amounts: Tensor, time: Tensor) -> Tensor:
        """Return d(tile)/dt at ``x`` for times ``(B, 1)`` in [0, 1]."""
        condition = self.condition(torch.cat([amounts, time], 1))
        y = self.head(F.pixel_unshuffle(x, _FOLD))
        skips = []
        for level, down in zip(self.encoder, self.down, strict=True):
            y = _through(level, y, condition)
            skips.append(y)
            y = down(y)
        y = _through(self.middle, y, condition)
        for skip, level, up in zip(reversed(skips), reversed(self.decoder), reversed(self.up), strict=True):
            y = _through(level, F.pixel_shuffle(up(y), 2) + skip, condition)
        return F.pixel_shuffle(self.tail(y), _FOLD)


def _level(width: int, blocks: int) -> nn.ModuleList:
    return nn.ModuleList(FilmBlock(width, _CONDITION) for _ in range(blocks))


def _through(level: nn.Module, x: Tensor, condition: Tensor) -> Tensor:
    for block in level.children():
        x = block(x, condition)
    return x
