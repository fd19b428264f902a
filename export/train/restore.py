"""Training the restoration network by conditional flow matching on small patches, made on the fly."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pocketcrafter.export.data.degrade import ByteImage, Frame
from pocketcrafter.export.data.noise import load_noise_models
from pocketcrafter.export.data.sampling import Focus, draw_frame
from pocketcrafter.export.models.layout import channels_last
from pocketcrafter.export.models.restore import Restore
from pocketcrafter.export.train.evidence import to_batch
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.losses import picture_loss
from pocketcrafter.runtime.plan import RESTORATION, Attribute

_PATCH_PX: Final = 128
_LARGEST_PX: Final = 3 * _PATCH_PX
_JITTER: Final = 0.1
"""How wrong the critic's amounts will be, about: a standard deviation."""
_COLUMNS: Final = [list(Attribute).index(a) for a in RESTORATION]


class RestoreTask:
    """Flow matching between a degraded patch (t = 0) and the patch without its restoration faults (t = 1)."""

    def __init__(
        self, photos: Sequence[Path], noise_profiles: Path, settings: FitSettings, device: torch.device
    ) -> None:
        self.model = channels_last(Restore(), device)
        self.settings, self.device = settings, device
        self.noise = load_noise_models(noise_profiles)
        self.photos = [_read(path) for path in photos]

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the velocity's loss."""
        rng = np.random.default_rng([self.settings.seed, step])
        frames = [self._draw(rng) for _ in range(self.settings.batch)]
        degraded = to_batch(np.stack([f.degraded for f in frames])).to(self.device)
        target = to_batch(np.stack([f.tonal for f in frames])).to(self.device)
        amounts = np.stack([f.plan.vector()[_COLUMNS] for f in frames])
        shaken = np.clip(amounts + rng.normal(0, _JITTER, amounts.shape) * (amounts > 0), 0, 1)
        amounts = np.where(rng.random((len(frames), 1)) < 0.5, shaken, amounts).astype(np.float32)
        time = np.where(rng.random((len(frames), 1)) < 0.5, 0, rng.random((len(frames), 1))).astype(np.float32)
        t = torch.from_numpy(time).to(self.device)
        blend = t[:, :, None, None]
        x = (1 - blend) * degraded + blend * target
        velocity = self.model.velocity(x, torch.from_numpy(amounts).to(self.device), t)
        loss = picture_loss(velocity.float(), target - degraded)
        return loss, {"loss": float(loss.detach())}

    def _draw(self, rng: np.random.Generator) -> Frame:
        photo = self.photos[rng.integers(len(self.photos))]
        return draw_frame(photo, _PATCH_PX, rng, self.noise, Focus.RESTORATION, _LARGEST_PX)


def _read(path: Path) -> ByteImage:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
