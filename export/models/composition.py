"""The composition network: how far a photo is tilted, how sure that is, and how well it is framed.

The tilt is read from edge directions (:mod:`~pocketcrafter.export.models.orientation`). What is learned is where in the
picture they tell something (attention from a pretrained backbone) and which of their peaks is the horizon: the layers
behind slide over the angles, so that each photo teaches every tilt alike.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.backbone import TAP_CHANNELS, MobileNetV2
from pocketcrafter.export.models.orientation import ANGLES, CELLS, MAPS, REACH_DEGREES, Orientation

LIMIT_DEGREES: Final = 10
"""The largest tilt that is answered."""
_TAPS: Final = (2, 3)
FEATURES: Final = sum(TAP_CHANNELS[tap] for tap in _TAPS)
_GAZES: Final = 6
_SEEN: Final = 32
_WIDTH: Final = 24
_EMPTY: Final = 0.02
_FRAMING: Final = 16


class Composed(NamedTuple):
    """What the network says; shapes as in ``POCKET_SPECS[Component.COMPOSITION]`` with a batch axis."""

    tilt: Tensor
    confidence: Tensor
    score: Tensor


class Composition(nn.Module):
    """The composition network."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2(1 + _TAPS[-1])
        self.orientation = Orientation()
        self.tilt = TiltHead()
        self.framing = FramingHead()

    def forward(self, view: Tensor, inside: Tensor) -> tuple[Tensor, ...]:
        """Judge views; return the fields of `Composed`, in order.

        Parameters
        ----------
        view
            Shape ``(B, 3, 256, 256)``, sRGB-encoded, in [0, 1], letterboxed.
        inside
            Shape ``(B, 1, 256, 256)``: 1 where the picture is, 0 in the letterbox.
        """
        orientation, features = self.evidence(view, inside)
        tilt, confidence, _ = self.tilt(orientation, features)
        return tilt, confidence, self.framing(features)

    def evidence(self, view: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is not trained: ``(B, MAPS · ANGLES, CELLS, CELLS)`` and ``(B, FEATURES, CELLS, CELLS)``."""
        taps = self.backbone(F.avg_pool2d(view, 2))
        return self.orientation(view, inside), torch.cat([taps[tap] for tap in _TAPS], 1)


class TiltHead(nn.Module):
    """Weighs the cells, then reads the tilt off the angles."""

    answers: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(FEATURES, _SEEN, 1)
        self.dropout = nn.Dropout(0.3)
        self.gaze = nn.Conv2d(_SEEN, _GAZES, 1)
        self.mix = nn.Conv2d(_GAZES * MAPS, _WIDTH, (1, 5), padding=(0, 2))
        self.slide = nn.Conv2d(_WIDTH, _WIDTH, (1, 7), padding=(0, 3))
        self.vote = nn.Conv2d(_WIDTH, 1, (1, 5), padding=(0, 2))
        self.sure = nn.Sequential(
            nn.Linear(3 + _SEEN + _GAZES * MAPS, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, 1)
        )
        self.register_buffer(
            "answers", torch.arange(-LIMIT_DEGREES, LIMIT_DEGREES + 1.0)[None, None, None], persistent=False
        )

    def forward(self, orientation: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return tilts ``(B, 1)`` in degrees, confidences ``(B, 1)`` and angle logits ``(B, 2·LIMIT_DEGREES + 1)``."""
        seen = F.hardswish(self.look(self.dropout(features)))
        gaze = torch.sigmoid(self.gaze(seen))
        weighed = [_mean(orientation * gaze[:, g : g + 1]) for g in range(_GAZES)]
        profile = torch.cat(weighed, 1).reshape(-1, _GAZES * MAPS, 1, ANGLES)
        mass = profile.mean(3, keepdim=True)
        shape = profile / (mass + _EMPTY) - 1
        hidden = F.hardswish(self.mix(shape))
        hidden = F.hardswish(self.slide(self.dropout(hidden)))
        margin = REACH_DEGREES - LIMIT_DEGREES
        logits = self.vote(hidden)[..., margin : ANGLES - margin]
        share = torch.softmax(logits, 3)
        tilt = (share * self.answers).sum(3, keepdim=True)
        spread = (share * (self.answers - tilt).square()).sum(3, keepdim=True)
        peak = share.square().sum(3, keepdim=True)
        facts = [peak, (spread + 0.01).sqrt(), tilt.abs() / LIMIT_DEGREES, _mean(seen), torch.log(mass + 0.001)]
        confidence = torch.sigmoid(self.sure(torch.cat(facts, 1).flatten(1)))
        return tilt.flatten(1), confidence, logits.flatten(1)


class FramingHead(nn.Module):
    """Scores where things stand in the frame; only differences between boxes of one photo and size mean anything."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(FEATURES, _FRAMING, 1)
        self.dropout = nn.Dropout(0.3)
        self.hidden = nn.Linear(_FRAMING * CELLS * CELLS, 64)
        self.score = nn.Linear(64, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Score features ``(B, FEATURES, CELLS, CELLS)``: ``(B, 1)``."""
        x = F.hardswish(self.reduce(self.dropout(features))).flatten(1)
        score: Tensor = self.score(F.hardswish(self.hidden(self.dropout(x))))
        return score


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)
