"""Image statistics inside the critic's graph: what a pretrained backbone does not see, and downscaling destroys.

Only fixed convolutions, pooling and elementwise arithmetic, so that a phone runs them where it runs the network.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.runtime import tone_math as tm

_TONE_BINS: Final = 16
_COLOR_BINS: Final = 8
_LOG_BINS: Final = 12
_FLOOR: Final = 1e-4
_DETAIL_SCALES: Final = 3
_LEVELS: Final = 255.0
_MIDDLE: Final = 128.0
_ENLARGED: Final = 24.0


class ViewStatistics(nn.Module):
    """Tone, color and veil of the whole photo: ``(B, 3, 256, 256)`` in [0, 1] to ``(B, features)``."""

    features: Final = 3 + 3 + _TONE_BINS + 3 * _COLOR_BINS + _COLOR_BINS + 3 + 6 + 48 + 3 + _COLOR_BINS + 3

    def __init__(self) -> None:
        super().__init__()
        self.luma = _fixed(torch.tensor(tm.LUMA)[None, :, None, None])
        self.tone_histogram = SoftHistogram(_TONE_BINS)
        self.color_histogram = SoftHistogram(_COLOR_BINS)

    def forward(self, view: Tensor) -> Tensor:
        """Return the statistics of each view."""
        small = F.avg_pool2d(view, 4)
        luma = self.luma(small)
        red, green, blue = small[:, 0:1], small[:, 1:2], small[:, 2:3]
        highest = torch.maximum(torch.maximum(red, green), blue)
        lowest = torch.minimum(torch.minimum(red, green), blue)
        chroma = highest - lowest
        veil = -F.max_pool2d(-lowest, 4)
        opponents = torch.cat([red - green, blue - green], 1)
        bright, dark = (_square(_square(x)) for x in (luma, 1 - luma))
        near_gray = torch.relu(1 - 6 * chroma)
        casts = [_mean(opponents * w) / (_mean(w) + _FLOOR) for w in (bright, dark, near_gray)]
        parts = [
            _mean(small),
            _deviation(small),
            _mean(self.tone_histogram(luma)),
            _mean(torch.cat([self.color_histogram(c) for c in (red, green, blue)], 1)),
            _mean(self.color_histogram(chroma)),
            _mean(chroma),
            _deviation(chroma),
            _mean(chroma * luma),
            *casts,
            F.avg_pool2d(small, 16).reshape(-1, 48, 1, 1),
            _mean(veil),
            _deviation(veil),
            -F.max_pool2d(-veil, 16),
            _mean(self.color_histogram(veil)),
            *(_log(_mean(_detail(luma, scale))) for scale in range(_DETAIL_SCALES)),
        ]
        return torch.cat(parts, 1).flatten(1)


class CropStatistics(nn.Module):
    """Noise, blur and block artefacts at native resolution: ``(B, 3, 128, 128)`` in [0, 1] to ``(B, features)``."""

    features: Final = 3 * (3 + _LOG_BINS) + _DETAIL_SCALES * 2 * 4 + 2 * (8 + 2)

    def __init__(self) -> None:
        super().__init__()
        to_opponents = torch.tensor([tm.LUMA, (1.0, -1.0, 0.0), (0.0, -1.0, 1.0)])
        self.opponents = _fixed(to_opponents[:, :, None, None])
        laplacian = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 4
        self.laplacian = _fixed(laplacian.expand(3, 1, 3, 3), groups=3)
        self.directions = _fixed(torch.stack([_edge(dx, dy) for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1))])[:, None])
        self.steps_x = _fixed(torch.tensor([[[[-1.0, 1.0]]]]))
        self.steps_y = _fixed(torch.tensor([[[[-1.0], [1.0]]]]))
        self.phases_x = _fixed(torch.eye(8)[:, None, None, :], stride=(1, 8))
        self.phases_y = _fixed(torch.eye(8)[:, None, :, None], stride=(8, 1))
        self.phase_mean = _fixed(torch.full((1, 8, 1, 1), 1 / 8))
        self.histogram = SoftHistogram(_LOG_BINS)

    def forward(self, crop: Tensor) -> Tensor:
        """Return the statistics of each crop."""
        # Whole numbers, which float16 has exactly, around 0, where it is finest; and differences first, colors after:
        # else the rounding of a smooth place outweighs the noise that is not there.
        levels = torch.floor(crop * _LEVELS + 0.5) - _MIDDLE
        blocks = F.avg_pool2d(self.opponents(self.laplacian(levels)).abs(), 6)
        log_blocks = _log_of_levels(blocks) / 10 + 1
        parts = [
            _log_of_levels(_mean(blocks)),
            _log_of_levels(-F.max_pool2d(-blocks, 21)),
            _log_of_levels(F.max_pool2d(blocks, 21)),
            *(_mean(self.histogram(log_blocks[:, c : c + 1])) for c in range(3)),
        ]
        luma = self.opponents(levels)[:, 0:1] * (1 / _LEVELS)
        for scale in range(_DETAIL_SCALES):
            edges = self.directions(F.avg_pool2d(luma, 2**scale) if scale else luma).abs()
            # Fourth powers of faint edges would underflow in float16; the strongest edge, 0.5, does not overflow.
            fourth = _mean(_square(_square(edges * _ENLARGED))).sqrt().sqrt() * (1 / _ENLARGED)
            parts += [_log(_mean(edges)), _log(fourth)]
        across = _mean(self.phases_x(F.pad(self.steps_x(luma).abs(), (1, 0, 0, 0))))
        down = _mean(self.phases_y(F.pad(self.steps_y(luma).abs(), (0, 0, 1, 0))))
        for phases in (across, down):
            level = self.phase_mean(phases)
            parts += [phases / (level + _FLOOR) - 1, _log(level), _log(phases[:, :1])]
        return torch.cat(parts, 1).flatten(1)


class SoftHistogram(nn.Module):
    """Triangular bins over [0, 1]: one channel in, one a bin out, so that the mean over space is a histogram."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        centers = torch.linspace(0, 1, bins)
        self.offset = _fixed(torch.full((bins, 1, 1, 1), float(bins - 1)), bias=-centers * (bins - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 1, H, W)`` to memberships ``(B, bins, H, W)``."""
        return torch.relu(1 - self.offset(x).abs())


def _fixed(weight: Tensor, stride: tuple[int, int] = (1, 1), groups: int = 1, bias: Tensor | None = None) -> nn.Conv2d:
    out, inputs, height, width = weight.shape
    conv = nn.Conv2d(inputs * groups, out, (height, width), stride, groups=groups, bias=bias is not None)
    conv.weight.data.copy_(weight)
    if bias is not None and conv.bias is not None:
        conv.bias.data.copy_(bias)
    return conv.requires_grad_(False)


def _edge(dx: int, dy: int) -> Tensor:
    kernel = torch.zeros(3, 3)
    kernel[1 + dy, 1 + dx], kernel[1 - dy, 1 - dx] = 0.5, -0.5
    return kernel


def _detail(luma: Tensor, scale: int) -> Tensor:
    x = F.avg_pool2d(luma, 2**scale) if scale else luma
    return (x[..., 1:] - x[..., :-1]).abs()[..., :-1, :] + (x[..., 1:, :] - x[..., :-1, :]).abs()[..., :-1]


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _deviation(x: Tensor) -> Tensor:
    mean = _mean(x)
    return (_mean(_square(x - mean)) + _FLOOR**2).sqrt()


def _square(x: Tensor) -> Tensor:
    # A product: a Hexagon processor computes powers by logarithm and exponential, twenty times slower.
    return x * x


def _log(x: Tensor) -> Tensor:
    return torch.log(x + _FLOOR)


def _log_of_levels(x: Tensor) -> Tensor:
    """Return ``_log(x / _LEVELS)``, with no number on the way that is small for float16."""
    return torch.log(x + _FLOOR * _LEVELS) - math.log(_LEVELS)
