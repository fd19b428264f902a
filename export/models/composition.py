"""The composition network: how far a photo is tilted, how sure that is, and how well it is framed.

One pretrained backbone is trained end to end for both. The tilt is a distribution over angles, read from moments of
its maps; the framing score is read from where in its last map things stand.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.backbone import TAP_CHANNELS, MobileNetV2

LIMIT_DEGREES: Final = 10
"""The largest tilt that is answered."""
ANGLES: Final = 4 * LIMIT_DEGREES + 1
"""Bins of half a degree, from `-LIMIT_DEGREES` to `LIMIT_DEGREES`."""
_TAPS: Final = 4
FEATURES: Final = 2 * sum(TAP_CHANNELS[1:_TAPS])
_HIDDEN: Final = 128
_PLACES: Final = 8
"""Rows and columns of places that the framing is judged by."""
_FRAMING: Final = 8
_LEAST_SHARE: Final = 1e-3


class Composition(nn.Module):
    """The composition network."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2(_TAPS)
        self.tilt = TiltHead()
        self.framing = FramingHead()

    def forward(self, view: Tensor, inside: Tensor) -> tuple[Tensor, ...]:
        """Judge views; return tilt, confidence and score, as in ``POCKET_SPECS[Pocket.COMPOSITION]``.

        Parameters
        ----------
        view
            Shape ``(B, 3, 256, 256)``, sRGB-encoded, in [0, 1], letterboxed.
        inside
            Shape ``(B, 1, 256, 256)``: 1 where the picture is, 0 in the letterbox.
        """
        maps = self.maps(view)
        tilt, confidence = self.tilt(moments_inside(maps, inside))
        return tilt, confidence, self.framing(maps[-1])

    def maps(self, view: Tensor) -> list[Tensor]:
        """Return the backbone's maps of views, the first one left out: in it edges are not yet lines."""
        maps: list[Tensor] = self.backbone(view)[1:]
        return maps


def moments_inside(maps: Sequence[Tensor], inside: Tensor) -> Tensor:
    """Return mean and standard deviation of maps ``(B, C, H, W)`` over the picture alone: ``(B, 2 · sum of C)``.

    Parameters
    ----------
    maps
        Of one view each.
    inside
        As in `Composition.forward`.
    """
    found = []
    for features in maps:
        weight = F.avg_pool2d(inside, inside.shape[2] // features.shape[2])
        share = _mean(weight) + _LEAST_SHARE
        mean = _mean(features * weight) / share
        apart = features - mean
        # A product, not a power, which a Hexagon processor computes by exponential and logarithm.
        variance = _mean(apart * apart * weight) / share
        found += [mean, (variance + 1e-5).sqrt()]
    return torch.cat(found, 1).flatten(1)


class TiltHead(nn.Module):
    """Reads the tilt, and how sure it is, off moments of the backbone's maps."""

    answers: Tensor
    center: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))
        self.vector = nn.Linear(FEATURES, _HIDDEN)
        self.hidden = nn.Linear(_HIDDEN, _HIDDEN)
        self.dropout = nn.Dropout(0.2)
        self.vote = nn.Linear(_HIDDEN, ANGLES)
        self.sure = nn.Linear(1, 1).requires_grad_(requires_grad=False)
        answers = torch.linspace(-LIMIT_DEGREES, LIMIT_DEGREES, ANGLES)
        self.register_buffer("answers", answers, persistent=False)
        # Fixed layers, as phones have no sum over channels of their own.
        self.expect, self.expect_square = _weighted_sum(answers), _weighted_sum(answers.square())

    def forward(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Return tilts in degrees and confidences, ``(B, 1)`` each."""
        tilt, scatter, _ = self.answer(moments)
        return tilt, torch.sigmoid(self.sure(scatter))

    def answer(self, moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return tilts and the angles' standard deviations, in degrees ``(B, 1)``, and angle logits ``(B, ANGLES)``."""
        x = ((moments - self.center) / self.spread).clamp(-5, 5)
        x = self.dropout(F.hardswish(self.vector(x)))
        x = self.dropout(F.hardswish(self.hidden(x)))
        logits = self.vote(x)
        share = torch.softmax(logits, 1)
        tilt = self.expect(share)
        scatter = (torch.relu(self.expect_square(share) - tilt * tilt) + 0.01).sqrt()
        return tilt, scatter, logits


class FramingHead(nn.Module):
    """Scores where things stand in the frame; only differences between boxes of one photo and size mean anything."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(TAP_CHANNELS[_TAPS - 1], _FRAMING, 1)
        self.dropout = nn.Dropout(0.5)
        self.hidden = nn.Linear(_FRAMING * _PLACES**2, 16)
        self.score = nn.Linear(16, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Score the backbone's last map ``(B, C, S, S)``: ``(B, 1)``."""
        places = F.avg_pool2d(features, features.shape[2] // _PLACES)
        x = F.hardswish(self.reduce(self.dropout(places))).flatten(1)
        score: Tensor = self.score(F.hardswish(self.hidden(self.dropout(x))))
        return score


def _weighted_sum(weights: Tensor) -> nn.Linear:
    layer = nn.Linear(len(weights), 1, bias=False)
    layer.weight.data.copy_(weights[None])
    return layer.requires_grad_(False)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)
