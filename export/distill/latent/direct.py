"""A latent artist learns from rewards by their own gradient (DRaFT: Clark et al., 2024).

A picture's reward is followed back through the autoencoder and all of the artist's few steps. That tells each weight
where every pixel should go, while a group of rewards tells it one number for each picture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pocketcrafter.export.distill.latent.aligned_artist import HELD, AlignedArtist
from pocketcrafter.export.distill.latent.flow import Shown, sampled, started
from pocketcrafter.export.distill.latent.frames import as_tensor
from pocketcrafter.export.distill.latent.pair_judge import Asked, shown_of
from pocketcrafter.export.distill.latent.rewards import HALF_DELTA_E, UNSEEN, VIEW_PX, Reward, suggested
from pocketcrafter.export.families.latent.parts import load_part
from pocketcrafter.export.models.renderer import srgb_to_linear
from pocketcrafter.runtime.latent.settings import Latent

_TO_XYZ: Final = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE: Final = (0.95047, 1.0, 1.08883)
"""sRGB to CIE XYZ, and D65 (IEC 61966-2-1)."""
_LINEAR_BELOW: Final = 0.008856
"""Relative to white; CIELAB's cube root begins there."""


@dataclass(frozen=True)
class Wanted:
    """What pictures are compared with, sRGB in [0, 1], ``(N, 3, VIEW_PX, VIEW_PX)``.

    Attributes
    ----------
    before, clean
        Degraded and clean frames.
    suggested
        What the answers suggest, as the analytic renderer carries it out; `before` where an answer does not parse.
    readable
        1 where it does, ``(N,)``.
    """

    before: Tensor
    clean: Tensor
    suggested: Tensor
    readable: Tensor

    @classmethod
    def of(cls, asked: Sequence[Asked], device: torch.device) -> "Wanted":
        """Return what is wanted of the pictures of some frames.

        Parameters
        ----------
        asked
            The frames and the critic's answers.
        device
            Where to.
        """
        pictures = [suggested(one.shot, one.text)[0] for one in asked]
        shown = [one.shot.before if picture is None else picture for one, picture in zip(asked, pictures, strict=True)]
        views = ([one.shot.before for one in asked], [one.shot.clean for one in asked], shown)
        before, clean, wanted = (as_tensor(np.stack(each).transpose(0, 3, 1, 2), device) for each in views)
        return cls(before, clean, wanted, as_tensor(np.array([picture is not None for picture in pictures]), device))


class DirectAlignment(AlignedArtist):
    """An artist climbs the gradient of its pictures' rewards; parameters as for `AlignedArtist`."""

    @cached_property
    def _decode(self) -> nn.Module:
        return cast("nn.Module", load_part(self.pair, Latent.DECODE).network).to(self.device)

    @cached_property
    def _weights(self) -> Mapping[Reward, float]:
        return {name: weight for name, weight in self.weights.items() if name in _OF_PICTURES}

    def learnt(self, asked: Sequence[Asked], rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Return what some frames' pictures lack of their rewards; parameters as in `AlignedArtist`."""
        shown = shown_of(asked, self.device)
        start = started(torch.randn_like(shown.picture), shown.picture, self.artist.settings)
        made = sampled(self.artist, start, self.levels, shown)
        rewards = self.rewards(made, shown, Wanted.of(asked, self.device))
        reward = sum(weight * rewards[name].mean() for name, weight in self._weights.items())
        held = self.velocities(made.detach(), shown, rng).held()
        told = {name.value: float(values.detach().mean()) for name, values in rewards.items()}
        lacking = 1 - reward / sum(self._weights.values())
        return lacking + HELD * held, {**told, "held": float(held.detach())}

    def rewards(self, made: Tensor, shown: Shown, wanted: Wanted) -> dict[Reward, Tensor]:
        """Return the rewards of pictures, each ``(N,)`` in [0, 1], with their gradients.

        Parameters
        ----------
        made
            Their latents as the artist's network has them, ``(N, channels, side, side)``.
        shown
            What the artist was shown.
        wanted
            What the pictures are compared with.
        """
        scale = self.artist.settings.latents
        change = self._seen(made / scale.scale + scale.shift) - self._seen(shown.picture)
        edited = (wanted.before + change).clamp(0, 1)
        return {name: _OF_PICTURES[name](edited, wanted) for name in self._weights}

    def _seen(self, latents: Tensor) -> Tensor:
        """Return what the autoencoder makes of latents, as pictures are compared."""
        # Not inside `vmap`, which cannot load a network.
        decode = self._decode

        def row(latent: Tensor) -> Tensor:
            image: Tensor = decode(latent[None])
            return image[0]

        pictures = (torch.func.vmap(row)(latents).float() / 2 + 0.5).clamp(0, 1)
        return interpolate(pictures, (VIEW_PX, VIEW_PX), mode="area")


def _photometric(edited: Tensor, wanted: Wanted) -> Tensor:
    """Return the photometric reward by CIE76, which has a gradient everywhere: that of CIEDE2000 jumps."""
    apart = (_lab(edited) - _lab(wanted.clean)).square().sum(1)
    return 1 / (1 + _root(apart).mean((1, 2)) / HALF_DELTA_E)


def _executed(edited: Tensor, wanted: Wanted) -> Tensor:
    made, asked = edited - wanted.before, wanted.suggested - wanted.before
    sizes = (_root(change.square().mean((1, 2, 3))) for change in (made, asked, made - asked))
    both, apart = next(sizes) + next(sizes), next(sizes)
    return wanted.readable * (both - apart + UNSEEN) / (both + UNSEEN)


_OF_PICTURES: Final[Mapping[Reward, Callable[[Tensor, Wanted], Tensor]]] = {
    Reward.EXECUTED: _executed,
    Reward.PHOTOMETRIC: _photometric,
}
"""Rewards of pictures, ``(N,)``; `rewards.judge` computes the same without a gradient."""


def _lab(encoded: Tensor) -> Tensor:
    xyz = torch.einsum("ij,njhw->nihw", encoded.new_tensor(_TO_XYZ), srgb_to_linear(encoded))
    relative = xyz / encoded.new_tensor(_WHITE)[:, None, None]
    cubic = relative.clamp(min=_LINEAR_BELOW) ** (1 / 3)
    x, y, z = torch.where(relative > _LINEAR_BELOW, cubic, relative * 7.787 + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _root(squares: Tensor) -> Tensor:
    """Return the square root, whose gradient at zero is finite."""
    return (squares + 1e-6).sqrt()
