"""Training the latent studio's artist: flow matching from noise to the clean frame's latents, beside the photo's."""

import importlib
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.latent_studio import SHIFT, STEPS
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.latent.frames import LatentFrames

_CLEAN_SHARE: Final = 0.3
"""Of the frames that are undegraded, where the answer is the photo itself; of the stored ones they are a sixth."""
_TRUE_SHARE: Final = 0.3
"""Of the texts that are those of the true plan; the others are what the critic wrote, as it will be on photos."""
_TIMES: Final = 1000.0


class Artist(nn.Module):
    """The U-Net and the bridge that leads to it."""

    def __init__(self, unet: Any, bridge: nn.Linear) -> None:  # noqa: ANN401 - diffusers is untyped
        super().__init__()
        self.unet, self.bridge = unet, bridge

    def forward(self, noisy: Tensor, photo: Tensor, sigma: Tensor, hidden: Tensor, counts: Tensor) -> Tensor:
        """Return the velocity, of the latents' shape.

        Parameters
        ----------
        noisy, photo
            Latents ``(N, channels, side, side)``: with noise, and those of the photo to be edited.
        sigma
            Share of noise of each, ``(N,)``, 0 to 1.
        hidden
            The critic's hidden states, ``(N, positions, WIDTH)``.
        counts
            How many of the positions are read, ``(N,)``; the others are masked.
        """
        mask = torch.arange(hidden.shape[1], device=hidden.device)[None] < counts[:, None]
        velocity: Tensor = self.unet(
            torch.cat([noisy, photo], 1),
            sigma * _TIMES,
            encoder_hidden_states=self.bridge(hidden),
            encoder_attention_mask=mask,
            return_dict=False,
        )[0]
        return velocity


class ArtistTask:
    """Learns the velocity from clean latents to noise.

    Parameters
    ----------
    model
        The artist.
    frames
        Latents and hidden states.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.
    any_level
        Whether it learns at any noise level, to run in any number of steps, and not at those of the pair's own alone.
    """

    def __init__(
        self,
        model: Artist,
        frames: LatentFrames,
        settings: FitSettings,
        device: torch.device,
        *,
        any_level: bool = False,
    ) -> None:
        self._any_level = any_level
        self.frames, self.settings, self.device = frames, settings, device
        self.model: nn.Module = channels_last(model, device)
        self._levels, self._moves = noise_levels()
        same = np.array(
            [np.array_equal(photo, clean) for photo, clean in zip(frames.photos, frames.cleans, strict=True)]
        )
        kinds = (np.flatnonzero(~same), np.flatnonzero(same))
        self._kinds = kinds if all(map(len, kinds)) else (np.arange(len(frames)),) * 2

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the mean square error of the velocity, and beside it that of the photo itself as the answer."""
        rng = np.random.default_rng([self.settings.seed, step])
        clean_ones = rng.random(self.settings.batch) < _CLEAN_SHARE
        rows = np.array([rng.choice(self._kinds[int(one)]) for one in clean_ones])
        told = rng.random(len(rows)) < _TRUE_SHARE
        own = rng.choice(self._levels, len(rows), p=self._moves)
        sigma = rng.random(len(rows)) if self._any_level else own
        photo, clean = (self._stored(a, rows) for a in (self.frames.photos, self.frames.cleans))
        states = [(self.frames.true if t else self.frames.own)[row] for row, t in zip(rows, told, strict=True)]
        counts = np.where(told, self.frames.true_counts[rows], self.frames.own_counts[rows])
        noise = torch.randn_like(clean)
        levels = torch.from_numpy(sigma).float().to(self.device)
        share = levels[:, None, None, None]
        hidden = torch.from_numpy(np.stack(states)).float().to(self.device)
        # bfloat16 is slower than float32 for convolutions of so few channels, on CPUs that multiply either.
        with torch.autocast(self.device.type, enabled=self.device.type != "cpu"):
            velocity = cast("Artist", self.model)(
                (1 - share) * clean + share * noise, photo, levels, hidden, torch.from_numpy(counts).to(self.device)
            )
        loss = (velocity.float() - (noise - clean)).square().mean()
        return loss, {"loss": float(loss.detach()), "photo": float((photo - clean).square().mean())}

    def _stored(self, stored: Any, rows: Any) -> Tensor:  # noqa: ANN401 - arrays
        return torch.from_numpy(stored[rows]).float().to(self.device)


def noise_levels() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the noise levels at which the bundle runs the network, and each step's share of the way to the picture.

    The errors of the steps add up in these shares. At other levels the network is never asked; low ones, where noise
    cannot be told from picture, would drown what the steps need.
    """
    scheduler: Any = importlib.import_module("diffusers").FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    scheduler.set_timesteps(STEPS)
    levels = scheduler.sigmas.double().numpy()
    moves = levels[:-1] - levels[1:]
    return levels[:-1], moves / moves.sum()
