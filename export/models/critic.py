"""The critic: one global view and four native crops in; plan, presence, confidence, score, tokens and scene out.

Evidence (image statistics and the early layers of an ImageNet backbone) is fixed, judgement is trained: evidence can
be computed once for each training frame, and the artist reads the judgement's hidden states, the plan tokens. Deeper
layers were tried: over the photos there are, they judge those of other photographers no better.
"""

from typing import Final, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.backbone import TAP_CHANNELS, MobileNetV2
from pocketcrafter.export.models.statistics import CropStatistics, ViewStatistics
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import CROPS, SCENE_DIM, TOKEN_DIM, TOKENS

_TAPS: Final = 2
VECTOR_DIM: Final = ViewStatistics.features + 2 * CropStatistics.features + 3 * 2 * sum(TAP_CHANNELS[:_TAPS])
FORESEEABLE: Final = tuple(a for a in Attribute if a not in (Attribute.HIGHLIGHTS, Attribute.SHADOWS))
"""Highlights and shadows cannot be told without a reference (R² 0 in every trial): they stay the user's, 0 here."""


class CriticConfig(Config):
    """The size of a critic's judgement; kept in the header of its weights file."""

    hidden: int = Field(256, ge=8, le=4096, description="Width of a judge's two hidden layers.")
    judges: int = Field(1, ge=1, le=64, description="Judges whose mean is said; more than one cannot be lowered.")


POCKET: Final = CriticConfig()
STUDIO: Final = CriticConfig(hidden=512, judges=5)


class Judgement(NamedTuple):
    """What the critic says; shapes and ranges are those of ``POCKET_SPECS[Pocket.CRITIC]`` with a batch axis."""

    plan: Tensor
    presence: Tensor
    confidence: Tensor
    score: Tensor
    tokens: Tensor
    scene: Tensor


class Evidence(nn.Module):
    """What a critic sees; nothing in it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2(_TAPS)
        self.view_statistics = ViewStatistics()
        self.crop_statistics = CropStatistics()
        self.requires_grad_(False)

    def forward(self, view: Tensor, crops: Tensor) -> Tensor:
        """Return evidence vectors ``(B, VECTOR_DIM)``; arguments as in `Critic.forward`."""
        of_crops = torch.cat([*map(_moments, self.backbone(crops)), self.crop_statistics(crops)], 1)
        of_crops = of_crops.reshape(-1, 1, CROPS, of_crops.shape[1])
        pooled = [pool(of_crops, (CROPS, 1)).flatten(1) for pool in (F.avg_pool2d, F.max_pool2d)]
        return torch.cat([self.view_statistics(view), *map(_moments, self.backbone(view)), *pooled], 1)


class Critic(nn.Module):
    """A critic.

    Parameters
    ----------
    config
        Its size: the pocket's has one judge, the studio's an ensemble of wider ones.
    """

    def __init__(self, config: CriticConfig = POCKET) -> None:
        super().__init__()
        self.config = config
        self.evidence = Evidence()
        self.judge: nn.Module = Judge(config.hidden) if config.judges == 1 else Ensemble(config)

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
        return tuple(self.judge(self.evidence(view, crops)))


class Judge(nn.Module):
    """Reads everything from plan tokens, and these from the evidence vector.

    Parameters
    ----------
    hidden
        Width of its two hidden layers.
    """

    center: Tensor
    spread: Tensor
    foreseeable: Tensor

    def __init__(self, hidden: int = POCKET.hidden) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(VECTOR_DIM))
        self.register_buffer("spread", torch.ones(VECTOR_DIM))
        self.vector = nn.Linear(VECTOR_DIM, hidden)
        self.hidden = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(0.3)
        self.tokens = nn.Linear(hidden, TOKENS * TOKEN_DIM)
        self.plan = nn.Linear(TOKENS * TOKEN_DIM, len(Attribute))
        self.presence = nn.Linear(TOKENS * TOKEN_DIM, len(Attribute))
        self.confidence = nn.Linear(TOKENS * TOKEN_DIM, len(Attribute))
        self.score = nn.Linear(TOKENS * TOKEN_DIM, 1)
        self.scene = nn.Linear(TOKENS * TOKEN_DIM, SCENE_DIM)
        foreseeable = torch.tensor([[float(a in FORESEEABLE) for a in Attribute]])
        self.register_buffer("foreseeable", foreseeable, persistent=False)

    def forward(self, vector: Tensor) -> Judgement:
        """Judge from evidence vectors ``(B, VECTOR_DIM)``."""
        measured = ((vector - self.center) / self.spread).clamp(-5, 5)
        x = self.dropout(F.hardswish(self.vector(measured)))
        x = self.dropout(F.hardswish(self.hidden(x)))
        tokens = F.hardswish(self.tokens(x))
        return Judgement(
            plan=self.plan(tokens) * self.foreseeable,
            presence=torch.sigmoid(self.presence(tokens)) * self.foreseeable,
            confidence=torch.sigmoid(self.confidence(tokens)),
            score=torch.sigmoid(self.score(tokens)),
            tokens=tokens.reshape(-1, TOKENS, TOKEN_DIM),
            scene=self.embed(tokens),
        )

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the scene embedding of flat tokens: ``(B, TOKENS·TOKEN_DIM)`` to ``(B, SCENE_DIM)``, unit length."""
        scene: Tensor = self.scene(tokens)
        return scene / (_mean_square(scene) * SCENE_DIM + 1e-6).sqrt()


class Ensemble(nn.Module):
    """Judges that differ in their first weights and batches (deep ensembles: Lakshminarayanan et al., NeurIPS 2017).

    Everything is the mean of what they say, but the tokens, which follow each other: ``(B, judges·TOKENS, TOKEN_DIM)``.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.judges = nn.ModuleList(Judge(config.hidden) for _ in range(config.judges))

    def forward(self, vector: Tensor) -> Judgement:
        """Judge from evidence vectors ``(B, VECTOR_DIM)``."""
        said = Judgement(*(torch.stack(column) for column in zip(*(j(vector) for j in self.judges), strict=True)))
        means = {name: getattr(said, name).mean(0) for name in ("plan", "presence", "confidence", "score", "scene")}
        return Judgement(**means, tokens=said.tokens.transpose(0, 1).flatten(1, 2))


def _mean_square(x: Tensor) -> Tensor:
    """Mean of squares over channels, ``(B, C)`` to ``(B, 1)``, written as the spatial mean that phones delegate."""
    return (x * x).reshape(-1, 1, 1, x.shape[1]).mean((2, 3), keepdim=True).reshape(-1, 1)


def _moments(features: Tensor) -> Tensor:
    """Mean and standard deviation over space: ``(B, C, H, W)`` to ``(B, 2C)``."""
    mean = features.mean((2, 3), keepdim=True)
    # Not the mean square less the squared mean: in float16 their difference is mostly rounding.
    apart = features - mean
    # A product, not a power, which a Hexagon processor computes by exponential and logarithm.
    variance = (apart * apart).mean((2, 3), keepdim=True)
    return torch.cat([mean, (variance + 1e-5).sqrt()], 1).reshape(-1, 2 * features.shape[1])
