"""A latent artist learns from rewards by its own velocity, without likelihoods (DiffusionNFT: Zheng et al., 2025).

Of each frame the artist makes a group of pictures from other noise. The velocity that leads to pictures of more reward
than their group's mean is approached, and that which leads to those of less is left behind.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pocketcrafter.export.distill.latent.aligned_artist import HELD, AlignedArtist
from pocketcrafter.export.distill.latent.flow import sampled, started
from pocketcrafter.export.distill.latent.pair_judge import Asked, shown_of
from pocketcrafter.export.distill.latent.rewards import advantages, rewards_of, total

GROUP: Final = 8
"""Pictures of each frame."""


class NftAlignment(AlignedArtist):
    """An artist learns from the values of its pictures' rewards; parameters as for `AlignedArtist`."""

    def learnt(self, asked: Sequence[Asked], rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of the groups at one of the artist's noise levels; parameters as in `AlignedArtist`."""
        shown = shown_of(asked, self.device, GROUP)
        with torch.no_grad():
            start = started(torch.randn_like(shown.picture), shown.picture, self.artist.settings)
            made = sampled(self.artist, start, self.levels, shown)
        velocity = self.velocities(made, shown, rng)
        groups = made.cpu().numpy().reshape(len(asked), GROUP, *made.shape[1:])
        judged = [self.judge.painted(one, group) for one, group in zip(asked, groups, strict=True)]
        rewards = rewards_of(judged, [one.shot for one in asked])
        worth = 0.5 + 0.5 * advantages(total(rewards, self.weights), self.device).clamp(-1, 1)
        # The artist is its own old policy, at which the velocity to be left behind is mirrored.
        mirrored = 2 * velocity.own.detach() - velocity.own
        near, far = ((each - velocity.true).square().mean((1, 2, 3)) for each in (velocity.own, mirrored))
        held = velocity.held()
        told = {name.value: float(rewards[name].mean()) for name in self.weights}
        return (worth * near + (1 - worth) * far).mean() + HELD * held, {**told, "held": float(held.detach())}
