"""Training the tone refinement on stored frames, on top of the analytic render of true, shaken and predicted plans."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.models.tone import slice_grid
from pocketcrafter.export.train.evidence import EvidenceStore, to_batch
from pocketcrafter.export.train.fit import FitSettings, picture_loss

_JITTER: Final = 0.1
_PREDICTED_SHARE: Final = 0.6


class ToneTask:
    """Learns the grid that takes a render to the clean frame; the critic is fixed.

    Parameters
    ----------
    model
        The network.
    store
        Stored frames.
    judged
        What the critic says of them.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.
    """

    def __init__(
        self, model: nn.Module, store: EvidenceStore, judged: Judgement, settings: FitSettings, device: torch.device
    ) -> None:
        self.store, self.settings, self.device = store, settings, device
        self.judged = judged
        self.model = channels_last(model, device)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the refined picture's loss, and for the log that of the render alone."""
        rng = np.random.default_rng([self.settings.seed, step])
        rows = np.sort(rng.choice(len(self.store), self.settings.batch, replace=False))
        plan = self._plans(rows, rng)
        view = to_batch(self.store.views[rows]).to(self.device)
        clean = F.avg_pool2d(to_batch(self.store.cleans[rows]).to(self.device), 2)
        with torch.no_grad():
            rendered = render(plan, view).contiguous(memory_format=torch.channels_last)
        grid = self.model(view, rendered, plan, self.judged.tokens[rows].to(self.device))
        small = F.avg_pool2d(rendered, 2)
        loss = picture_loss(slice_grid(grid.float(), small), clean)
        return loss, {"loss": float(loss.detach()), "render": float(picture_loss(small, clean))}

    def _plans(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Mix true plans, shaken, with predicted ones, gated at a random presence as the runtime may gate them."""
        true = self.store.plans[rows]
        shaken = true + rng.normal(0, _JITTER, true.shape).astype(np.float32) * (true != 0)
        threshold = rng.uniform(0.2, 0.6, (len(rows), 1))
        predicted = self.judged.plan[rows].numpy() * (self.judged.presence[rows].numpy() > threshold)
        plan = np.where(rng.random((len(rows), 1)) < _PREDICTED_SHARE, predicted, shaken)
        return torch.from_numpy(plan.astype(np.float32)).to(self.device)
