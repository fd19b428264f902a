"""Training the latent studio's autoencoder on patches of stored frames, degraded and clean ones alike."""

from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.latent_studio import SIDE_PX
from pocketcrafter.export.train.evidence import EvidenceStore, to_batch
from pocketcrafter.export.train.fit import FitSettings, picture_loss
from pocketcrafter.runtime.pocket import VIEW_PX

_PATCH_PX: Final = 64
_SHAKE: Final = 0.05
"""Noise on the latents, of a range of ±3: what an artist predicts is never exact."""
_RAW: Final = 0.02
"""Weight of latents beyond ±2: the decoder's squashing would flatten them."""


class AutoencoderTask:
    """Learns to give patches back, at the scale at which the artist sees photos.

    Parameters
    ----------
    model
        An `AutoencoderTiny` of diffusers.
    store
        Stored frames.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.
    """

    def __init__(self, model: nn.Module, store: EvidenceStore, settings: FitSettings, device: torch.device) -> None:
        self.store, self.settings, self.device = store, settings, device
        self.model = channels_last(model, device)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of patches, and for the log their PSNR in decibels."""
        rng = np.random.default_rng([self.settings.seed, step])
        picture = to_batch(np.stack([self._patch(rng) for _ in range(self.settings.batch)])).to(self.device)
        model: Any = self.model
        # bfloat16 is slower than float32 for convolutions of so few channels, on CPUs that multiply either.
        with torch.autocast(self.device.type, enabled=False):
            raw = model.encoder(picture * 2 - 1)
            latents = raw + torch.randn_like(raw) * _SHAKE
            made = model.decoder(latents) / 2 + 0.5
            loss = picture_loss(made, picture) + _RAW * (raw.abs() - 2).clamp(min=0).mean()
        error = (made.detach().clamp(0, 1) - picture).square().mean()
        return loss, {"loss": float(loss.detach()), "psnr": float(-10 * torch.log10(error))}

    def _patch(self, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        pictures = self.store.cleans if rng.random() < 0.5 else self.store.views
        row, scale = int(rng.integers(len(self.store))), VIEW_PX // SIDE_PX
        top, left = (int(o) for o in rng.integers(0, VIEW_PX - _PATCH_PX * scale + 1, 2))
        patch = np.array(pictures[row, top : top + _PATCH_PX * scale, left : left + _PATCH_PX * scale])
        patch = np.asarray(cv2.resize(patch, (_PATCH_PX, _PATCH_PX), interpolation=cv2.INTER_AREA), np.uint8)
        return patch[:, ::-1] if rng.random() < 0.5 else patch
