"""Losses that several networks share."""

from torch import Tensor


def picture_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 plus a quarter of the L1 between gradients; pictures ``(B, C, H, W)``."""
    difference = output - target
    across = difference[..., 1:] - difference[..., :-1]
    down = difference[..., 1:, :] - difference[..., :-1, :]
    return difference.abs().mean() + 0.25 * (across.abs().mean() + down.abs().mean())
