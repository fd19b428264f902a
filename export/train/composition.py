"""Training the composition network on stored frames: angles by their votes, framing by which of two boxes was chosen."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.composition import Composition
from pocketcrafter.export.train.composition_frames import GROUP, CompositionFrames, with_backbone
from pocketcrafter.export.train.fit import FitSettings

RIGHT_DEGREES: Final = 1.5
"""The error under which an answer counts as right: what the confidence is the probability of."""
_VOTE_SIGMA: Final = 0.8
"""Degrees."""


class CompositionTask:
    """Learns the heads; backbone and orientation are fixed, their outputs stored."""

    def __init__(
        self, frames: CompositionFrames, backbone: Mapping[str, Tensor], settings: FitSettings, device: torch.device
    ) -> None:
        self.frames, self.settings, self.device = frames, settings, device
        self.model = with_backbone(Composition(), backbone).to(device)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train the heads, and nothing else."""
        return [(1.0, [*self.model.tilt.parameters(), *self.model.framing.parameters()])]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of whole groups; its size is that of the settings in groups."""
        rng = np.random.default_rng([self.settings.seed, step])
        groups = np.sort(rng.choice(len(self.frames) // GROUP, self.settings.batch, replace=False))
        rows = (groups[:, None] * GROUP + np.arange(GROUP)).ravel()
        orientation, features, tilts = (t.to(self.device) for t in self._batch(rows))
        tilt, confidence, logits = self.model.tilt(orientation, features)
        error = (tilt.flatten() - tilts).abs()
        answers = self.model.tilt.answers.flatten()
        votes = torch.softmax(-0.5 * ((answers - tilts[:, None]) / _VOTE_SIGMA) ** 2, 1)
        angle_loss = F.cross_entropy(logits, votes) + 0.2 * F.smooth_l1_loss(tilt.flatten(), tilts)
        right = (error.detach() < RIGHT_DEGREES).float()
        sure_loss = F.binary_cross_entropy(confidence.flatten(), right)
        score = self.model.framing(features).reshape(-1, GROUP)
        framing_loss = F.softplus(score[:, 1:] - score[:, :1]).mean()
        loss = angle_loss + sure_loss + framing_loss
        parts = {"error": error, "sure": sure_loss, "framing": framing_loss}
        return loss, {name: float(value.detach().mean()) for name, value in parts.items()}

    def _batch(self, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        # Copies, as torch warns of arrays that cannot be written to.
        orientation, features, tilts = (
            torch.from_numpy(np.array(a[rows])).float()
            for a in (self.frames.orientation, self.frames.features, self.frames.tilts)
        )
        return orientation, features, tilts
