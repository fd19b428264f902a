"""Training the composition network on stored frames: tilts by votes, framing by which of two boxes was chosen."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.composition import Composition
from pocketcrafter.export.train.composition_frames import GROUP, CompositionFrames
from pocketcrafter.export.train.fit import FitSettings

RIGHT_DEGREES: Final = 1.5
"""The error under which an answer counts as right: what the confidence is the probability of."""
_VOTE_SIGMA: Final = 0.8
"""Degrees."""
_GAIN_SIGMA: Final = 0.15


class CompositionTask:
    """Learns the heads; backbone and orientation are fixed, their outputs stored.

    Parameters
    ----------
    frames
        Stored features of frames.
    backbone
        Weights of the ImageNet backbone; they are not trained.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.
    """

    def __init__(
        self, frames: CompositionFrames, backbone: Mapping[str, Tensor], settings: FitSettings, device: torch.device
    ) -> None:
        self.frames, self.settings, self.device = frames, settings, device
        self.model = Composition().to(device)
        self.model.backbone.take(backbone)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train the heads, and nothing else."""
        heads = [*self.model.tilt.parameters(), *self.model.framing.parameters()]
        return [(1.0, [p for p in heads if p.requires_grad])]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of whole groups; its size is that of the settings in groups."""
        rng = np.random.default_rng([self.settings.seed, step])
        groups = np.sort(rng.choice(len(self.frames) // GROUP, self.settings.batch, replace=False))
        rows = (groups[:, None] * GROUP + np.arange(GROUP)).ravel()
        profiles, tilts = _varied(self._rows(self.frames.profiles, rows), self._rows(self.frames.tilts, rows), rng)
        tilt, confidence, logits = self.model.tilt(profiles)
        error = (tilt.flatten() - tilts).abs()
        answers = self.model.tilt.answers
        votes = torch.softmax(-0.5 * ((answers - tilts[:, None]) / _VOTE_SIGMA) ** 2, 1)
        angle_loss = F.cross_entropy(logits, votes) + 0.2 * F.smooth_l1_loss(tilt.flatten(), tilts)
        sure_loss = F.binary_cross_entropy(confidence.flatten(), (error.detach() < RIGHT_DEGREES).float())
        score = self.model.framing(self._rows(self.frames.features, rows)).reshape(-1, GROUP)
        framing_loss = F.softplus(score[:, 1:] - score[:, :1]).mean()
        parts = {"error": error, "sure": sure_loss, "framing": framing_loss}
        return angle_loss + sure_loss + framing_loss, {k: float(v.detach().mean()) for k, v in parts.items()}

    def _rows(self, array: npt.NDArray[np.float16] | npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> Tensor:
        # A copy, as torch warns of arrays that cannot be written to.
        return torch.from_numpy(np.array(array[rows])).float().to(self.device)


def _varied(profiles: Tensor, tilts: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirror half of the frames, which turns their angles around, and make each map somewhat stronger or weaker."""
    count = len(tilts)
    mirrored = torch.from_numpy(rng.random(count) < 0.5).to(tilts.device)
    gains = torch.from_numpy(np.exp(rng.normal(0, _GAIN_SIGMA, (count, profiles.shape[1], 1, 1)))).to(profiles)
    turned = torch.where(mirrored[:, None, None, None], profiles.flip(3), profiles)
    return turned * gains, torch.where(mirrored, -tilts, tilts)
