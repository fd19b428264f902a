"""Resizing of the last two axes, from the grid of sampling points that MIL defines."""

import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.errors import MilError
from pocketcrafter.export.lower.mil_interpreter.ops.arguments import Arg, flag, integer, number
from pocketcrafter.export.lower.mil_interpreter.registry import op


@op("upsample_nearest_neighbor")
def upsample_nearest_neighbor(x: Tensor, scale_factor_height: Arg = 1, scale_factor_width: Arg = 1) -> Tensor:
    """Repeat the nearest value."""
    height, width = _scaled(x, scale_factor_height, scale_factor_width)
    return resize_nearest_neighbor(x, height, width)


@op("resize_nearest_neighbor")
def resize_nearest_neighbor(x: Tensor, target_size_height: Arg, target_size_width: Arg) -> Tensor:
    """Repeat the nearest value, in exact integer arithmetic."""
    for axis, target in ((-2, integer(target_size_height)), (-1, integer(target_size_width))):
        x = x.index_select(axis, torch.arange(target) * x.shape[axis] // target)
    return x


@op("upsample_bilinear")
def upsample_bilinear(
    x: Tensor,
    scale_factor_height: Arg = 1,
    scale_factor_width: Arg = 1,
    align_corners: Arg = True,
    half_pixel_centers: Tensor | None = None,
) -> Tensor:
    """Interpolate between the four nearest values."""
    height, width = _scaled(x, scale_factor_height, scale_factor_width)
    if flag(align_corners):
        mode = "ALIGN_CORNERS"
    else:
        mode = "UNALIGN_CORNERS" if half_pixel_centers is None or flag(half_pixel_centers) else "DEFAULT"
    return resize_bilinear(x, height, width, mode)


@op("resize_bilinear")
def resize_bilinear(
    x: Tensor, target_size_height: Arg = 1, target_size_width: Arg = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Interpolate between the four nearest values."""
    for axis, target in ((x.ndim - 2, integer(target_size_height)), (x.ndim - 1, integer(target_size_width))):
        length = x.shape[axis]
        place = _grid(length, target, sampling_mode).clamp(0, length - 1)
        low = place.floor().long()
        share = (place - low).to(x.dtype).reshape([-1] + [1] * (x.ndim - 1 - axis))
        high = (low + 1).clamp(max=length - 1)
        x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share
    return x


def _scaled(x: Tensor, height: Arg, width: Arg) -> tuple[int, int]:
    # A factor such as 4/3 is kept in float32: without the margin, 3 × 1.3333334 may come to less than 4.
    return tuple(int(n * number(f) + 1e-4) for n, f in zip(x.shape[-2:], (height, width), strict=True))  # type: ignore[return-value]


def _grid(length: int, target: int, mode: str) -> Tensor:
    step = torch.arange(target, dtype=torch.float64)
    match mode:
        case "STRICT_ALIGN_CORNERS" | "ALIGN_CORNERS":
            if target == 1:
                return torch.tensor([(length - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0], dtype=torch.float64)
            return step * (length - 1) / (target - 1)
        case "DEFAULT":
            return step * length / target
        case "OFFSET_CORNERS":
            delta = max(1, length - 1) / target
            return delta / 2 + step * delta
        case "UNALIGN_CORNERS":
            return (step + 0.5) * length / target - 0.5
    raise MilError(f"`{mode}` is no sampling mode")
