"""Training the restoration network by conditional flow matching on small patches, made on the fly."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.export.data.degrade import Frame
from pocketcrafter.export.data.sampling import Focus, draw_frame
from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.restore import Restore
from pocketcrafter.export.train.drawn_photos import DrawnPhotos
from pocketcrafter.export.train.evidence import to_batch
from pocketcrafter.export.train.fit import FitSettings, picture_loss
from pocketcrafter.runtime.plan import RESTORATION, Attribute

PATCH_PX: Final = 128
_LARGEST_PX: Final = 3 * PATCH_PX
_JITTER: Final = 0.1
"""How wrong the critic's amounts will be, about: a standard deviation."""
RESTORED: Final = [list(Attribute).index(a) for a in RESTORATION]
"""Places of the amounts to restore in a plan vector."""


class RestoreTask:
    """Flow matching between a degraded patch (t = 0) and the patch without its restoration faults (t = 1).

    Parameters
    ----------
    model
        The network.
    patches
        Draws pairs of patches.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.
    """

    def __init__(self, model: Restore, patches: "Patches", settings: FitSettings, device: torch.device) -> None:
        self.model = channels_last(model, device)
        self.patches, self.settings, self.device = patches, settings, device

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the velocity's loss; a network of one step is only ever asked at t = 0, and learns that alone."""
        rng = np.random.default_rng([self.settings.seed, step])
        degraded, target, amounts = (t.to(self.device) for t in self.patches.draw(self.settings.batch, rng))
        shape = (self.settings.batch, 1)
        inside = rng.random(shape) < (0.5 if self.model.config.steps > 1 else 0)
        time = np.where(inside, rng.random(shape), 0).astype(np.float32)
        t = torch.from_numpy(time).to(self.device)
        blend = t[:, :, None, None]
        x = (1 - blend) * degraded + blend * target
        velocity = self.model.velocity(x, amounts, t)
        loss = picture_loss(velocity.float(), target - degraded)
        return loss, {"loss": float(loss.detach())}


class Patches(DrawnPhotos):
    """Degraded patches and what restoration should make of them."""

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return degraded and target patches, float32 ``(count, 3, 128, 128)``, and amounts ``(count, 3)``.

        Half of the amounts are shaken, as a critic's will be.
        """
        frames = [self._frame(rng) for _ in range(count)]
        amounts = np.stack([f.plan.vector()[RESTORED] for f in frames])
        shaken = np.clip(amounts + rng.normal(0, _JITTER, amounts.shape) * (amounts > 0), 0, 1)
        amounts = np.where(rng.random((count, 1)) < 0.5, shaken, amounts).astype(np.float32)
        degraded, target = (np.stack([getattr(f, name) for f in frames]) for name in ("degraded", "tonal"))
        return to_batch(degraded), to_batch(target), torch.from_numpy(amounts)

    def _frame(self, rng: np.random.Generator) -> Frame:
        photo = self.photos[rng.integers(len(self.photos))]
        return draw_frame(photo, PATCH_PX, rng, self.noise, Focus.RESTORATION, _LARGEST_PX, self.realism)
