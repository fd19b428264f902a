"""The pocket artist's tone refinement: a bilateral grid of local affine transforms from the low-resolution view.

It mends what arithmetic cannot, clipping and airlight, on top of the analytic render (bilateral guided upsampling:
Chen et al., SIGGRAPH Asia 2016; HDRnet: Gharbi et al., SIGGRAPH 2017).
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.blocks import FilmBlock
from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import GRID, TOKEN_DIM, TOKENS

_CONDITION: Final = 64
_WIDTHS: Final = (16, 32, 64, 96)
_BLOCKS: Final = (0, 1, 2, 4)


class Tone(nn.Module):
    """Predicts the grid; a new one is the identity everywhere."""

    identity: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(TOKENS * TOKEN_DIM, _CONDITION)
        self.plan = nn.Linear(len(Attribute), _CONDITION)
        self.condition = nn.Sequential(nn.Hardswish(), nn.Linear(_CONDITION, _CONDITION), nn.Hardswish())
        inputs = (6, *_WIDTHS[:-1])
        self.down = nn.ModuleList(nn.Conv2d(i, w, 3, 2, 1) for i, w in zip(inputs, _WIDTHS, strict=True))
        self.levels = nn.ModuleList(
            nn.ModuleList(FilmBlock(w, _CONDITION, nn.Hardswish()) for _ in range(n))
            for w, n in zip(_WIDTHS, _BLOCKS, strict=True)
        )
        self.activate = nn.Hardswish()
        self.whole = nn.Linear(_WIDTHS[-1], _WIDTHS[-1])
        coefficients, bins, _, _ = GRID
        self.grid = nn.Conv2d(_WIDTHS[-1], coefficients * bins, 1)
        for parameter in self.grid.parameters():
            nn.init.zeros_(parameter)
        identity = torch.eye(3, 4).reshape(1, coefficients, 1, 1).repeat_interleave(bins, 1)
        self.register_buffer("identity", identity, persistent=False)

    def forward(self, view: Tensor, rendered: Tensor, plan: Tensor, tokens: Tensor) -> Tensor:
        """Predict bilateral grids, ``(B, *GRID)``.

        Parameters
        ----------
        view, rendered
            The photo and its analytic render, ``(B, 3, 256, 256)`` in [0, 1].
        plan
            The edit plan as a vector, one row a photo.
        tokens
            The critic's plan tokens, ``(B, tokens, width)``.
        """
        condition = self.condition(self.plan(plan) + self.tokens(tokens.flatten(1)))
        x = torch.cat([view, rendered], 1) - 0.5
        for down, level in zip(self.down, self.levels, strict=True):
            x = self.activate(down(x))
            for block in level.children():
                x = block(x, condition)
        channels = _WIDTHS[-1]
        x = x + self.whole(x.mean((2, 3), keepdim=True).reshape(-1, channels)).reshape(-1, channels, 1, 1)
        # Added outside the convolution: an INT8 output that spans [0, 1] would round the departure from identity away.
        grid: Tensor = self.identity + self.grid(x)
        return grid.reshape(-1, *GRID)


def slice_grid(grid: Tensor, rendered: Tensor) -> Tensor:
    """Apply grids ``(B, *GRID)`` to pictures ``(B, 3, H, W)`` in [0, 1]: the runtime's slicing, differentiable."""
    batch, _, height, width = rendered.shape
    luma = (rendered * rendered.new_tensor(tm.LUMA)[:, None, None]).sum(1)
    y = ((torch.arange(height, device=grid.device) + 0.5) / height * 2 - 1)[None, :, None].expand(batch, height, width)
    x = ((torch.arange(width, device=grid.device) + 0.5) / width * 2 - 1)[None, None].expand(batch, height, width)
    where = torch.stack([x, y, luma * 2 - 1], -1)[:, None]
    affine = F.grid_sample(grid, where, align_corners=True, padding_mode="border")[:, :, 0]
    affine = affine.reshape(batch, 3, 4, height, width)
    return (affine[:, :, :3] * rendered[:, None]).sum(2) + affine[:, :, 3]
