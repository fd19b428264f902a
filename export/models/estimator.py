"""The estimator: the tonal amounts of a photo, read off a small view by a backbone that is trained end to end.

Statistics and frozen features do not know what color a thing should have; a backbone that is fine-tuned on frames
drawn anew at every step learns some of it. What it says is evidence for the critic, not a plan.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.backbone import TAP_CHANNELS, MobileNetV2, moments
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import VIEW_PX

ESTIMATED: Final = (
    Attribute.EXPOSURE,
    Attribute.TEMPERATURE,
    Attribute.TINT,
    Attribute.CONTRAST,
    Attribute.SATURATION,
    Attribute.DEHAZE,
)
"""The tonal amounts that can be told without a reference."""
QUANTILES: Final = (0.1, 0.9)
ESTIMATES: Final = (2 + len(QUANTILES)) * len(ESTIMATED)
"""Of each amount its expectation, the logit of its presence and its quantiles."""
_POOL: Final = 3
SMALL_VIEW_PX: Final = VIEW_PX // _POOL
_TAPS: Final = 4
_FEATURES: Final = 2 * sum(TAP_CHANNELS[:_TAPS])
_HIDDEN: Final = 256


class Estimator(nn.Module):
    """MobileNetV2 on the pooled view, and two layers on the moments of its taps."""

    center: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2(_TAPS)
        self.register_buffer("center", torch.zeros(_FEATURES))
        self.register_buffer("spread", torch.ones(_FEATURES))
        self.vector = nn.Linear(_FEATURES, _HIDDEN)
        self.hidden = nn.Linear(_HIDDEN, _HIDDEN)
        self.dropout = nn.Dropout(0.3)
        self.estimates = nn.Linear(_HIDDEN, ESTIMATES)

    def forward(self, view: Tensor) -> Tensor:
        """Return estimates of views ``(B, 3, 256, 256)`` in [0, 1]; see `estimate`."""
        return self.estimate(F.avg_pool2d(view, _POOL))

    def estimate(self, small_view: Tensor) -> Tensor:
        """Return estimates: expectations, logits of presence, then each quantile, standardized as in training.

        Parameters
        ----------
        small_view
            Shape ``(B, 3, 85, 85)``, sRGB-encoded, in [0, 1].

        Returns
        -------
        Tensor
            ``(B, ESTIMATES)``, in the order of `ESTIMATED` within each part.
        """
        x = ((self.features(small_view) - self.center) / self.spread).clamp(-5, 5)
        x = self.dropout(F.hardswish(self.vector(x)))
        x = self.dropout(F.hardswish(self.hidden(x)))
        said: Tensor = self.estimates(x)
        return said

    def features(self, small_view: Tensor) -> Tensor:
        """Return the moments of the backbone's taps; argument as in `estimate`."""
        return torch.cat([*map(moments, self.backbone(small_view))], 1)
