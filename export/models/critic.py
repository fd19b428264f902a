"""The critic: one global view and four native crops in; plan, presence, confidence, score, tokens and scene out.

Evidence comes first: image statistics and the early layers of an ImageNet backbone, which are fixed, and what an
`Estimator` says, which is trained before. Judgement is trained on it: evidence can be computed once for each training
frame, and the artist reads the judgement's hidden states, the plan tokens.

Of the image statistics a pretrained backbone does not see, and downscaling destroys, what there is: fixed convolutions,
pooling and elementwise arithmetic alone, so that a phone runs them where it runs the network.
"""

import math
from typing import Final, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.backbone import TAP_CHANNELS, MobileNetV2, moments
from pocketcrafter.export.models.estimator import ESTIMATES, Estimator
from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import CROPS, SCENE_DIM, TOKEN_DIM, TOKENS

_TONE_BINS: Final = 16
_COLOR_BINS: Final = 8
_LOG_BINS: Final = 12
_FLOOR: Final = 1e-4
_DETAIL_SCALES: Final = 3
_LEVELS: Final = 255.0
_MIDDLE: Final = 128.0
_ENLARGED: Final = 24.0
_TAPS: Final = 2
FORESEEABLE: Final = tuple(a for a in Attribute if a not in (Attribute.HIGHLIGHTS, Attribute.SHADOWS))
"""Highlights and shadows cannot be told without a reference (R² 0 in every trial): they stay the user's, 0 here."""


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


FIXED_DIM: Final = ViewStatistics.features + 2 * CropStatistics.features + 3 * 2 * sum(TAP_CHANNELS[:_TAPS])
VECTOR_DIM: Final = FIXED_DIM + ESTIMATES


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
    """What a critic sees; the estimator alone is trained, apart from it and before it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2(_TAPS)
        self.view_statistics = ViewStatistics()
        self.crop_statistics = CropStatistics()
        self.estimator = Estimator()
        self.requires_grad_(False)

    def forward(self, view: Tensor, crops: Tensor) -> Tensor:
        """Return evidence vectors ``(B, VECTOR_DIM)``; arguments as in `Critic.forward`."""
        return torch.cat([self.fixed(view, crops), self.estimator(view)], 1)

    def fixed(self, view: Tensor, crops: Tensor) -> Tensor:
        """Return the part that nothing trained has touched, ``(B, FIXED_DIM)``; arguments as in `Critic.forward`."""
        of_crops = torch.cat([*map(moments, self.backbone(crops)), self.crop_statistics(crops)], 1)
        of_crops = of_crops.reshape(-1, 1, CROPS, of_crops.shape[1])
        pooled = [pool(of_crops, (CROPS, 1)).flatten(1) for pool in (F.avg_pool2d, F.max_pool2d)]
        return torch.cat([self.view_statistics(view), *map(moments, self.backbone(view)), *pooled], 1)


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
        scene = self.scene(tokens)
        return Judgement(
            plan=self.plan(tokens) * self.foreseeable,
            presence=torch.sigmoid(self.presence(tokens)) * self.foreseeable,
            confidence=torch.sigmoid(self.confidence(tokens)),
            score=torch.sigmoid(self.score(tokens)),
            tokens=tokens.reshape(-1, TOKENS, TOKEN_DIM),
            scene=_of_unit_length(scene),
        )

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the scene embedding of flat tokens: ``(B, TOKENS·TOKEN_DIM)`` to ``(B, SCENE_DIM)``, unit length."""
        return _of_unit_length(self.scene(tokens))


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


def _of_unit_length(x: Tensor) -> Tensor:
    return x / (_mean_square(x) * x.shape[1] + 1e-6).sqrt()
