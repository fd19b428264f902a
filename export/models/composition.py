"""The composition network: how far a photo is tilted, how sure that is, and how well it is framed.

The tilt is read from edge directions near the horizontal and the vertical by a few layers that slide over
the angles, so that each photo teaches every tilt alike. They do not see what the photo shows: with few photos that only
teaches them those. The framing is judged from a pretrained backbone's features.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.backbone import TAP_CHANNELS, MobileNetV2

REACH_DEGREES: Final = 14
ANGLES: Final = 2 * REACH_DEGREES + 1
"""Bins of 1°, from `-REACH_DEGREES` to `REACH_DEGREES`."""
CELLS: Final = 8
FAMILIES: Final = 2
SCALES: Final = 3
LINES: Final = 2
MAPS: Final = (SCALES + LINES) * FAMILIES
"""For each scale, then for the lines at each coarse scale, the near-horizontal edges and the near-vertical ones."""

_HALF_WIDTH: Final = math.radians(1.5)
_NOISE: Final = 1e-7
_VISIBLE: Final = 0.03
_REACH: Final = 4
_HALF_LINE: Final = 4
_WORK_PX: Final = 64
"""Above this side, neighboring pixels share a direction: a fraction of the work, and steadier."""
LIMIT_DEGREES: Final = 10
"""The largest tilt that is answered."""
BANDS: Final = ((0, 3), (2, 6), (5, CELLS))
"""Rows of cells that profiles are taken over, after the one of all: the top, the middle, the bottom."""
PROFILES: Final = (1 + len(BANDS)) * MAPS
_TAPS: Final = (2, 3)
FEATURES: Final = sum(TAP_CHANNELS[tap] for tap in _TAPS)
_WIDTH: Final = 8
_EMPTY: Final = 0.02
_FAINT: Final = 0.3
_FRAMING: Final = 8


class Orientation(nn.Module):
    """Maps ``(B, 3, 256, 256)`` in [0, 1] and its ``inside`` mask to ``(B, MAPS · ANGLES, CELLS, CELLS)``.

    Channel ``m · ANGLES + a`` is the percentage of a cell whose edges of map ``m`` stand at ``a - REACH_DEGREES``
    degrees, counter-clockwise from the horizontal or vertical: the clockwise turn that would level them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.slopes = _fixed(_slopes().repeat(3, 1, 1, 1), groups=3)
        self.smooth = _fixed(_gaussian(1.0, 2).expand(3, 1, 5, 5), groups=3)
        self.projections = _fixed(_projections())
        self.lines = nn.ModuleList(Lines(pooled, reach) for pooled, reach in ((4, 4), (2, 2)))

    def forward(self, view: Tensor, inside: Tensor) -> Tensor:
        """Return the evidence of each view."""
        picture, mask = view, inside
        members = []
        for _ in range(SCALES):
            picture, mask = F.avg_pool2d(picture, 2), F.avg_pool2d(mask, 2)
            members.append(self._members(picture, _safe(mask)))
        maps = [_cells(m) for m in members]
        maps += [line(m) for line, m in zip(self.lines, members[-LINES:], strict=True)]
        return 100 * torch.cat(maps, 1)

    def _members(self, picture: Tensor, safe: Tensor) -> Tensor:
        """Return how much each place is an edge of each family and angle: ``(B, FAMILIES · ANGLES, H, W)``."""
        slopes = self.slopes(picture)
        tensor = self.smooth(_color_tensor([slopes[:, 2 * c : 2 * c + 2] for c in range(3)]))
        if picture.shape[2] > _WORK_PX:
            share = picture.shape[2] // _WORK_PX
            tensor, safe = F.avg_pool2d(tensor * safe, share), F.avg_pool2d(safe, share)
        doubled = tensor[:, :2]
        length = (doubled[:, :1] * doubled[:, :1] + doubled[:, 1:] * doubled[:, 1:]).sqrt()
        # A floor, not a sum: the ONNX exporter drops the addition of what is nearly zero.
        strength = length.clamp(min=_NOISE)
        coherence = strength / (tensor[:, 2:] + _NOISE)
        amplitude = strength.sqrt()
        weight = safe * coherence * coherence * (amplitude / (amplitude + _VISIBLE))
        # 1 - cos 2δ is 2δ² near 0: a parabola that ends half a width from its bin.
        near = torch.relu(1 - (1 - self.projections(doubled / strength)) * (0.5 / _HALF_WIDTH**2))
        edges: Tensor = near * weight
        return edges


class Lines(nn.Module):
    """Squared means of each bin's edges along lines at its angle: long straight edges stand out from texture.

    Parameters
    ----------
    pooled
        Places that are averaged along the line first; at these angles a line hardly leaves them.
    reach
        How far a line of nine such averages goes aside, in places.
    """

    def __init__(self, pooled: int, reach: int) -> None:
        super().__init__()
        self.pooled = pooled
        kernels = _line_kernels(pooled, reach)
        self.along_rows = _fixed(kernels, groups=ANGLES)
        # Turned counter-clockwise, a level line rises to the right and an upright one leans to the left.
        self.along_columns = _fixed(kernels.flip(2).transpose(2, 3).contiguous(), groups=ANGLES)

    def forward(self, members: Tensor) -> Tensor:
        """Map members ``(B, FAMILIES · ANGLES, H, W)`` to ``(B, FAMILIES · ANGLES, CELLS, CELLS)``."""
        rows = self.along_rows(F.avg_pool2d(members[:, :ANGLES], (1, self.pooled)))
        columns = self.along_columns(F.avg_pool2d(members[:, ANGLES:], (self.pooled, 1)))
        return torch.cat([_cells(rows * rows), _cells(columns * columns)], 1)


def angles() -> Tensor:
    """Return the bins' angles in degrees, shape ``(ANGLES,)``."""
    return torch.arange(-REACH_DEGREES, REACH_DEGREES + 1, dtype=torch.float32)


def _fixed(weight: Tensor, groups: int = 1) -> nn.Conv2d:
    out, inputs, height, width = weight.shape
    conv = nn.Conv2d(
        inputs * groups, out, (height, width), padding=(height // 2, width // 2), groups=groups, bias=False
    )
    conv.weight.data.copy_(weight)
    return conv.requires_grad_(False)


def _safe(inside: Tensor) -> Tensor:
    """Where neither the slope nor the smoothing reaches the letterbox or the view's border, from shares of a place."""
    # A place that is partly letterbox is letterbox: its mean is no color of the picture.
    outside = torch.clamp((1 - inside) * 2**SCALES, max=1)
    return 1 - F.max_pool2d(F.pad(outside, (_REACH,) * 4, value=1.0), 2 * _REACH + 1, 1)


def _gaussian(sigma: float, reach: int) -> Tensor:
    t = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    t = t / t.sum()
    return t[:, None] * t[None]


def _slopes() -> Tensor:
    """Return derivatives of a Gaussian: x to the right, y down; a ramp of 1 a pixel gives 1."""
    t = torch.arange(-2.0, 3.0)
    x = t[None] * _gaussian(1.0, 2)
    x = x / (x * t[None]).sum()
    return torch.stack([x, x.T])[:, None]


def _projections() -> Tensor:
    """Return unit vectors of the doubled gradient angle for each family and bin, ``(FAMILIES · ANGLES, 2, 1, 1)``.

    An edge that a clockwise turn of δ levels rises to the right: its gradient stands at 90° - δ (y down), that of a
    vertical one at -δ.
    """
    delta = torch.deg2rad(angles())
    doubled = torch.cat([math.pi - 2 * delta, -2 * delta])
    return torch.stack([doubled.cos(), doubled.sin()], 1)[:, :, None, None]


def _line_kernels(pooled: int, reach: int) -> Tensor:
    """Return means along soft lines rising to the right at each bin's angle, ``(ANGLES, 1, H, W)``; y points down."""
    along = pooled * torch.arange(-_HALF_LINE, _HALF_LINE + 1)
    aside = torch.arange(-reach, reach + 1)
    slopes = torch.tan(torch.deg2rad(angles()))
    middle = -slopes[:, None] * along
    soft = torch.relu(1 - (aside[None, :, None] - middle[:, None]).abs())
    return (soft / len(along))[:, None]


def _cells(maps: Tensor) -> Tensor:
    """Average ``(B, C, H, W)`` over the cells."""
    height, width = maps.shape[2:]
    return F.avg_pool2d(maps, (height // CELLS, width // CELLS))


def _color_tensor(slopes: list[Tensor]) -> Tensor:
    """Sum the channels' structure tensors (Di Zenzo, CVGIP 1986): xx - yy, 2xy, xx + yy."""
    total = None
    for slope in slopes:
        across, down = slope[:, :1], slope[:, 1:]
        xx, yy = across * across, down * down
        one = torch.cat([xx - yy, 2 * across * down, xx + yy], 1)
        total = one if total is None else total + one
    if total is None:
        raise ValueError("no channel")
    return total


class Composition(nn.Module):
    """The composition network."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2(1 + _TAPS[-1])
        self.orientation = Orientation()
        self.tilt = TiltHead()
        self.framing = FramingHead()

    def forward(self, view: Tensor, inside: Tensor) -> tuple[Tensor, ...]:
        """Judge views; return tilt, confidence and score, as in ``POCKET_SPECS[Component.COMPOSITION]``.

        Parameters
        ----------
        view
            Shape ``(B, 3, 256, 256)``, sRGB-encoded, in [0, 1], letterboxed.
        inside
            Shape ``(B, 1, 256, 256)``: 1 where the picture is, 0 in the letterbox.
        """
        profiles, features = self.evidence(view, inside)
        tilt, confidence, _ = self.tilt(profiles)
        return tilt, confidence, self.framing(features)

    def evidence(self, view: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is not trained: ``(B, PROFILES, 1, ANGLES)`` and ``(B, FEATURES, CELLS, CELLS)``."""
        cells = self.orientation(view, inside)
        profiles = torch.cat([_mean(cells), *(_mean(cells[:, :, first:last]) for first, last in BANDS)], 1)
        taps = self.backbone(F.avg_pool2d(view, 2))
        return profiles.reshape(-1, PROFILES, 1, ANGLES), torch.cat([taps[tap] for tap in _TAPS], 1)


class TiltHead(nn.Module):
    """Reads the tilt off the profiles of edge directions."""

    answers: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(0.15)
        self.mix = nn.Conv2d(2 * PROFILES, _WIDTH, (1, 5), padding=(0, 2))
        self.slide = nn.Conv2d(_WIDTH, _WIDTH, (1, 7), padding=(0, 3))
        self.vote = nn.Conv2d(_WIDTH, 1, (1, 5), padding=(0, 2))
        self.sure = nn.Sequential(nn.Linear(3 + PROFILES, 16), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(16, 1))
        answers = torch.arange(-LIMIT_DEGREES, LIMIT_DEGREES + 1.0)
        self.register_buffer("answers", answers, persistent=False)
        # Fixed layers, as phones have no sum over channels of their own.
        self.expect, self.expect_square, self.count = map(
            _weighted_sum, (answers, answers.square(), torch.ones_like(answers))
        )

    def forward(self, profiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return tilts ``(B, 1)`` in degrees, confidences ``(B, 1)`` and angle logits ``(B, 2·LIMIT_DEGREES + 1)``."""
        mass = _mean(profiles)
        shape = torch.cat([profiles / (mass + _EMPTY) - 1, torch.log(profiles / _FAINT + 1)], 1)
        hidden = F.hardswish(self.mix(self.dropout(shape)))
        hidden = F.hardswish(self.slide(self.dropout(hidden)))
        margin = REACH_DEGREES - LIMIT_DEGREES
        logits = self.vote(hidden)[..., margin : ANGLES - margin]
        share = torch.softmax(logits.flatten(1), 1)
        tilt = self.expect(share)
        spread = self.expect_square(share) - tilt * tilt
        peak = self.count(share * share)
        facts = [
            peak,
            (torch.relu(spread) + 0.01).sqrt(),
            tilt.abs() / LIMIT_DEGREES,
            torch.log(mass + 0.001).flatten(1),
        ]
        confidence = torch.sigmoid(self.sure(torch.cat(facts, 1)))
        return tilt, confidence, logits.flatten(1)


class FramingHead(nn.Module):
    """Scores where things stand in the frame; only differences between boxes of one photo and size mean anything."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(FEATURES, _FRAMING, 1)
        self.dropout = nn.Dropout(0.5)
        self.hidden = nn.Linear(_FRAMING * CELLS * CELLS, 16)
        self.score = nn.Linear(16, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Score features ``(B, FEATURES, CELLS, CELLS)``: ``(B, 1)``."""
        x = F.hardswish(self.reduce(self.dropout(features))).flatten(1)
        score: Tensor = self.score(F.hardswish(self.hidden(self.dropout(x))))
        return score


def _weighted_sum(weights: Tensor) -> nn.Linear:
    layer = nn.Linear(len(weights), 1, bias=False)
    layer.weight.data.copy_(weights[None])
    return layer.requires_grad_(False)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)
