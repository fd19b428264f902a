"""A latent artist learns from rewards by its own velocity, without likelihoods (DiffusionNFT: Zheng et al., 2025).

Of each frame the artist makes a group of pictures from other noise. The velocity that leads to pictures of more reward
than their group's mean is approached, and that which leads to those of less is left behind.
"""

import copy
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.export.distill.latent.flow import FlowArtist, Levels, artist_settings, sampled, started
from pocketcrafter.export.distill.latent.frames import FrameSource
from pocketcrafter.export.distill.latent.pair_judge import PairJudge, shown_of
from pocketcrafter.export.distill.latent.rewards import Reward, Shot, advantages, rewards_of, total
from pocketcrafter.export.families.latent.pair import Pair
from pocketcrafter.export.train.fit import FitSettings

GROUP: Final = 8
"""Pictures of each frame."""
_HELD: Final = 0.1
"""Weight of the distance from the supervised artist's velocity."""


class ArtistAlignmentTask:
    """An artist comes to make pictures of more reward, near to the supervised artist's.

    Parameters
    ----------
    pair
        Whose artist is trained; a copy of it stays as it is.
    judge
        Judges pictures; its critic, whose answers the artist reads, is not trained.
    levels
        Noise levels of the artist's steps, as phones run them.
    source
        Draws frames.
    weights
        Of the rewards; those of words are the same for all pictures of a frame, and change nothing.
    settings, device
        Steps, frames a step, learning rate, seed, and where to train.
    """

    def __init__(
        self,
        pair: Pair,
        judge: PairJudge,
        levels: Levels,
        source: FrameSource,
        weights: Mapping[Reward, float],
        settings: FitSettings,
        device: torch.device,
    ) -> None:
        self._artist = FlowArtist(pair, artist_settings(pair)).to(device)
        self._supervised = copy.deepcopy(self._artist).eval().requires_grad_(requires_grad=False)
        self._judge, self._levels = judge, levels
        self._source, self._weights, self._settings, self._device = source, weights, settings, device

    @property
    def model(self) -> FlowArtist:
        """The artist."""
        return self._artist

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self._artist.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a step's groups at one of the artist's noise levels, and for the log its rewards."""
        # bfloat16 is slower than float32 for convolutions of few channels, on CPUs that multiply either.
        with torch.autocast(self._device.type, enabled=self._device.type != "cpu"):
            return self._loss(step)

    def _loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        rng = np.random.default_rng([self._settings.seed, step])
        asked = [self._judge.asked(Shot.of(self._source.draw(rng))) for _ in range(self._settings.batch)]
        shown = shown_of(asked, self._device, GROUP)
        with torch.no_grad():
            start = started(torch.randn_like(shown.picture), shown.picture, self._artist.settings)
            made = sampled(self._artist, start, self._levels, shown)
        noise, level = torch.randn_like(made), float(rng.choice(self._levels.levels[:-1]))
        noisy, at = (1 - level) * made + level * noise, made.new_full((len(made),), level)
        velocity = self._artist(noisy, at, shown).float()
        with torch.no_grad():
            supervised = self._supervised(noisy, at, shown).float()
        groups = made.cpu().numpy().reshape(len(asked), GROUP, *made.shape[1:])
        judged = [self._judge.painted(one, group) for one, group in zip(asked, groups, strict=True)]
        rewards = rewards_of(judged, [one.shot for one in asked])
        worth = 0.5 + 0.5 * advantages(total(rewards, self._weights), self._device).clamp(-1, 1)
        # The artist is its own old policy, at which the velocity to be left behind is mirrored.
        mirrored = 2 * velocity.detach() - velocity
        near, far = ((each - (noise - made)).square().mean((1, 2, 3)) for each in (velocity, mirrored))
        held = (velocity - supervised).square().mean()
        told = {name.value: float(rewards[name].mean()) for name in self._weights}
        return (worth * near + (1 - worth) * far).mean() + _HELD * held, {**told, "held": float(held.detach())}
