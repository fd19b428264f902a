"""Losses that several networks share."""

from typing import Final

import torch
from torch import Tensor

from pocketcrafter.export.models.renderer import srgb_to_linear

_TO_WHITE: Final = (
    (0.4124 / 0.9505, 0.3576 / 0.9505, 0.1805 / 0.9505),
    (0.2126, 0.7152, 0.0722),
    (0.0193 / 1.089, 0.1192 / 1.089, 0.9505 / 1.089),
)
"""Linear sRGB to XYZ, each row over that of D65 white."""
_CHROMA_WEIGHT: Final = 0.045
_HUE_WEIGHT: Final = 0.015


def picture_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 plus a quarter of the L1 between gradients; pictures ``(B, C, H, W)``."""
    difference = output - target
    across = difference[..., 1:] - difference[..., :-1]
    down = difference[..., 1:, :] - difference[..., :-1, :]
    return difference.abs().mean() + 0.25 * (across.abs().mean() + down.abs().mean())


def delta_e94(output: Tensor, target: Tensor) -> Tensor:
    """Mean CIE94 color difference of each picture (CIE 116-1995, graphic arts): ``(B, 3, H, W)`` to ``(B,)``.

    Pictures are sRGB-encoded, in [0, 1]. Unlike CIEDE2000 it has a gradient everywhere.
    """
    one, other = _lab(output), _lab(target)
    chroma = other[:, 1:].square().sum(1).sqrt()
    lightness, a, b = (one - other).unbind(1)
    chroma_change = (one[:, 1:].square().sum(1) + 1e-6).sqrt() - chroma
    hue_squared = (a.square() + b.square() - chroma_change.square()).clamp(min=0)
    squared = (
        lightness.square()
        + (chroma_change / (1 + _CHROMA_WEIGHT * chroma)).square()
        + hue_squared / (1 + _HUE_WEIGHT * chroma).square()
    )
    return (squared + 1e-4).sqrt().mean((1, 2))


def _lab(encoded: Tensor) -> Tensor:
    """Turn sRGB pictures ``(B, 3, H, W)`` into CIE L*a*b* (D65)."""
    xyz = torch.einsum("ij,bjhw->bihw", encoded.new_tensor(_TO_WHITE), srgb_to_linear(encoded))
    f = torch.where(xyz > 0.008856, xyz.clamp(min=0.008856) ** (1 / 3), 7.787 * xyz + 16 / 116)
    return torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
