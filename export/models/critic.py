"""The pocket critic: one global view and four native crops in; plan, presence, confidence, score, tokens and scene out.

Evidence (early backbone layers and statistics) is fixed, judgement is trained: evidence can be computed once for each
training frame, and the artist reads the judgement's hidden states, the plan tokens.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.backbone import STAGES, TAP_CHANNELS, MobileNetV2
from pocketcrafter.export.models.statistics import CropStatistics, ViewStatistics
from pocketcrafter.runtime.components import CROPS, SCENE_DIM, TOKEN_DIM, TOKENS
from pocketcrafter.runtime.plan import Attribute

EARLY_TAPS: Final = 2
_EARLY_CHANNELS: Final = sum(TAP_CHANNELS[:EARLY_TAPS])
_LATE_CHANNELS: Final = sum(TAP_CHANNELS[EARLY_TAPS:])
MAP_SHAPE: Final = (TAP_CHANNELS[EARLY_TAPS - 1], 32, 32)
VECTOR_DIM: Final = ViewStatistics.features + 2 * CropStatistics.features + 3 * 2 * _EARLY_CHANNELS
FORESEEABLE: Final = tuple(a for a in Attribute if a not in (Attribute.HIGHLIGHTS, Attribute.SHADOWS))
"""Highlights and shadows cannot be told without a reference (R² 0 in every trial): they stay the user's, 0 here."""
_HIDDEN: Final = 256


class Judgement(NamedTuple):
    """What the critic says; shapes and ranges are those of ``POCKET_SPECS[Component.CRITIC]`` with a batch axis."""

    plan: Tensor
    presence: Tensor
    confidence: Tensor
    score: Tensor
    tokens: Tensor
    scene: Tensor


class Critic(nn.Module):
    """The pocket critic."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2()
        self.view_statistics = ViewStatistics()
        self.crop_statistics = CropStatistics()
        self.judge = Judge()

    def forward(self, view: Tensor, crops: Tensor) -> tuple[Tensor, ...]:
        """Judge photos; return the fields of `Judgement`, in order.

        Parameters
        ----------
        view
            Shape ``(B, 3, 256, 256)``, sRGB-encoded, in [0, 1].
        crops
            Shape ``(B·CROPS, 3, 128, 128)``, likewise; the crops of one photo follow each other.
        """
        # A plain tuple: ExecuTorch cannot write a named one down.
        return tuple(self.judge_evidence(*self.evidence(view, crops)))

    def evidence(self, view: Tensor, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is not trained: the early feature map ``(B, 32, 32, 32)`` and the vector ``(B, VECTOR_DIM)``."""
        taps = self.backbone(view, EARLY_TAPS)
        of_crops = torch.cat([*map(_moments, self.backbone(crops, EARLY_TAPS)), self.crop_statistics(crops)], 1)
        of_crops = of_crops.reshape(-1, 1, CROPS, of_crops.shape[1])
        pooled = [pool(of_crops, (CROPS, 1)).flatten(1) for pool in (F.avg_pool2d, F.max_pool2d)]
        parts = [self.view_statistics(view), *map(_moments, taps), *pooled]
        return taps[-1], torch.cat(parts, 1)

    def judge_evidence(self, evidence_map: Tensor, vector: Tensor) -> Judgement:
        """Judge from stored evidence."""
        features = [evidence_map]
        for stage in self.late_stages():
            features.append(stage(features[-1]))
        judgement: Judgement = self.judge(features[1:], vector)
        return judgement

    def late_stages(self) -> list[nn.Module]:
        """Return the trained stages of the backbone."""
        return list(self.backbone.stages)[EARLY_TAPS + 1 : len(STAGES)]


class Judge(nn.Module):
    """Pools the late features, joins them with the evidence vector, and reads everything from the plan tokens."""

    center: Tensor
    spread: Tensor
    foreseeable: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(VECTOR_DIM))
        self.register_buffer("spread", torch.ones(VECTOR_DIM))
        self.late = nn.Linear(2 * _LATE_CHANNELS, _HIDDEN)
        self.vector = nn.Linear(VECTOR_DIM, _HIDDEN)
        self.late_dropout = nn.Dropout(0.3)
        self.dropout = nn.Dropout(0.2)
        self.hidden = nn.Linear(2 * _HIDDEN, _HIDDEN)
        self.tokens = nn.Linear(_HIDDEN, TOKENS * TOKEN_DIM)
        self.plan = nn.Linear(TOKENS * TOKEN_DIM, len(Attribute))
        self.presence = nn.Linear(TOKENS * TOKEN_DIM, len(Attribute))
        self.confidence = nn.Linear(TOKENS * TOKEN_DIM, len(Attribute))
        self.score = nn.Linear(TOKENS * TOKEN_DIM, 1)
        self.scene = nn.Linear(TOKENS * TOKEN_DIM, SCENE_DIM)
        foreseeable = torch.tensor([[float(a in FORESEEABLE) for a in Attribute]])
        self.register_buffer("foreseeable", foreseeable, persistent=False)

    def forward(self, features: list[Tensor], vector: Tensor) -> Judgement:
        """Judge from late feature maps and the evidence vector ``(B, VECTOR_DIM)``."""
        seen = self.late_dropout(torch.cat([_moments(f) for f in features], 1))
        measured = ((vector - self.center) / self.spread).clamp(-5, 5)
        joined = torch.cat([self.late(seen), self.vector(measured)], 1)
        hidden = self.dropout(F.hardswish(self.hidden(self.dropout(F.hardswish(joined)))))
        tokens = F.hardswish(self.tokens(hidden))
        scene = self.scene(tokens)
        return Judgement(
            plan=self.plan(tokens) * self.foreseeable,
            presence=torch.sigmoid(self.presence(tokens)) * self.foreseeable,
            confidence=torch.sigmoid(self.confidence(tokens)),
            score=torch.sigmoid(self.score(tokens)),
            tokens=tokens.reshape(-1, TOKENS, TOKEN_DIM),
            scene=scene / (_mean_square(scene) * SCENE_DIM + 1e-6).sqrt(),
        )


def _mean_square(x: Tensor) -> Tensor:
    """Mean of squares over channels, ``(B, C)`` to ``(B, 1)``, written as the spatial mean that phones delegate."""
    return x.pow(2).reshape(-1, 1, 1, x.shape[1]).mean((2, 3), keepdim=True).reshape(-1, 1)


def _moments(features: Tensor) -> Tensor:
    """Mean and standard deviation over space: ``(B, C, H, W)`` to ``(B, 2C)``."""
    mean = features.mean((2, 3), keepdim=True)
    variance = features.pow(2).mean((2, 3), keepdim=True) - mean.pow(2)
    return torch.cat([mean, (variance.clamp(min=0) + 1e-5).sqrt()], 1).reshape(-1, 2 * features.shape[1])
