"""The pocket artist's restoration: a U-Net over space-to-depth pixels, trained by conditional flow matching.

The flow is anchored on the photo: t = 0 is the tile as it is, t = 1 the clean one, and the network gives the velocity
between them (rectified flow: Liu et al., ICLR 2023; flow matching: Lipman et al., ICLR 2023).
"""

from itertools import pairwise
from typing import Annotated, Final, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.blocks import ScaledBlock
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import RESTORATION

_FOLD: Final = 2
_CONDITION: Final = 64


class RestoreConfig(Config):
    """The size of a restoration network and its steps; kept in the header of its weights file."""

    steps: int = Field(1, ge=1, le=64, description="Euler steps from t = 0 to t = 1, unrolled in the graph.")
    widths: tuple[Annotated[int, Field(ge=4, le=1024)], ...] = Field(
        (24, 48, 96, 160),
        min_length=2,
        max_length=4,
        description="Channels of each level, finest first; each level halves the resolution.",
    )
    blocks: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field(
        (1, 2, 2, 3), description="Inverted residuals of each level, on the way down and again on the way up."
    )

    @model_validator(mode="after")
    def _same_levels(self) -> Self:
        if len(self.widths) != len(self.blocks):
            raise ValueError(f"{len(self.widths)} widths and {len(self.blocks)} numbers of blocks")
        return self


POCKET: Final = RestoreConfig()
STUDIO: Final = RestoreConfig(steps=8, widths=(32, 64, 128, 224), blocks=(1, 3, 3, 4))


class Restore(nn.Module):
    """Restores tiles in a fixed number of Euler steps.

    Parameters
    ----------
    config
        Its size and steps.
    """

    def __init__(self, config: RestoreConfig = POCKET) -> None:
        super().__init__()
        self.config = config
        widths, blocks = config.widths, config.blocks
        pixels = 3 * _FOLD**2
        self.condition = nn.Sequential(
            nn.Linear(len(RESTORATION) + 1, _CONDITION),
            nn.ReLU(),
            nn.Linear(_CONDITION, _CONDITION),
            nn.ReLU(),
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
        return self.trajectory(tile, amounts)[-1]

    def trajectory(self, tile: Tensor, amounts: Tensor) -> list[Tensor]:
        """Return the states at t = 0, 1/steps, …, 1; arguments and shapes as in `forward`."""
        states, steps = [tile], self.config.steps
        for step in range(steps):
            time = torch.full((tile.shape[0], 1), step / steps, dtype=tile.dtype, device=tile.device)
            states.append(states[-1] + self.velocity(states[-1], amounts, time) * (1 / steps))
        return states

    def in_steps(self, steps: int) -> "Restore":
        """Return a copy of the network that takes another number of steps."""
        copy = Restore(self.config.model_copy(update={"steps": steps}))
        copy.load_state_dict(self.state_dict())
        # Trainable even where it comes from a file, whose networks are not.
        return copy.train(self.training)

    def velocity(self, x: Tensor, amounts: Tensor, time: Tensor) -> Tensor:
        """Return d(tile)/dt at ``x`` for times ``(B, 1)`` in [0, 1].

        Parameters
        ----------
        x
            Pictures at that time, float32 ``(B, 3, H, W)``.
        amounts
            denoise, deblur, dejpeg in [0, 1]: ``(B, 3)``.
        time
            In [0, 1]: ``(B, 1)``.
        """
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
    return nn.ModuleList(ScaledBlock(width, _CONDITION, nn.ReLU()) for _ in range(blocks))


def _through(level: nn.Module, x: Tensor, condition: Tensor) -> Tensor:
    for block in level.children():
        x = block(x, condition)
    return x


def equalizable_pairs(network: Restore) -> dict[str, str]:
    """Return each convolution whose output passes through ReLU alone, and the convolution that reads it.

    They are those inside the residual blocks. The residual sums and the condition are left out: equalizing them as well
    brought INT8 nothing.

    Raises
    ------
    ConfigError
        If an activation is not ReLU: others do not commute with a channel's factor.
    """
    blocks = {name: module for name, module in network.named_modules() if isinstance(module, ScaledBlock)}
    if bent := [name for name, block in blocks.items() if not isinstance(block.activate, nn.ReLU)]:
        raise ConfigError(f"Factors pass through ReLU alone; {', '.join(bent)} have another activation.")
    layers = [(f"{name}.expand", f"{name}.depthwise", f"{name}.project") for name in blocks]
    return {maker: reader for chain in layers for maker, reader in pairwise(chain)}


def widened(network: Restore, config: RestoreConfig) -> Restore:
    """Return a larger network that computes exactly what the given one does, to go on training from there.

    Old channels keep their weights and read no new ones; new ones start at random (Net2Net: Chen et al., ICLR 2016).

    Parameters
    ----------
    network
        The smaller one.
    config
        The larger one's size: as many levels, and on each at least as many channels and blocks.

    Raises
    ------
    ConfigError
        If it is smaller anywhere.
    """
    small = network.config
    sizes = zip((*small.widths, *small.blocks), (*config.widths, *config.blocks), strict=False)
    if len(small.widths) != len(config.widths) or any(new < old for old, new in sizes):
        raise ConfigError(
            f"widths {config.widths}, blocks {config.blocks}: smaller than {small.widths}, {small.blocks}."
        )
    larger = Restore(config)
    old = network.state_dict()
    for name, tensor in larger.state_dict().items():
        if name in old:
            corner = tuple(slice(length) for length in old[name].shape)
            if tensor.ndim > 1:
                tensor[corner[0]] = 0
            tensor[corner] = old[name]
        elif name.split(".")[-2] == "project":
            # A block that the smaller network lacks starts as the identity.
            tensor.zero_()
    return larger
