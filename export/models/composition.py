"""The composition network: how far a photo is tilted, how sure that is, and how well it is framed.

The tilt is read from edge directions (:mod:`~pocketcrafter.export.models.orientation`) by a few layers that slide over
the angles, so that each photo teaches every tilt alike. They do not see what the photo shows: with few photos that only
teaches them those. The framing is judged from a pretrained backbone's features.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.backbone import TAP_CHANNELS, MobileNetV2
from pocketcrafter.export.models.orientation import ANGLES, CELLS, MAPS, REACH_DEGREES, Orientation

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
