"""What both ways to align a latent artist share: its frames, and how near it stays to the supervised one."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.export.distill.latent.flow import FlowArtist, Levels, Shown, artist_settings
from pocketcrafter.export.distill.latent.frames import FrameSource
from pocketcrafter.export.distill.latent.pair_judge import Asked, PairJudge
from pocketcrafter.export.distill.latent.rewards import Reward, Shot
from pocketcrafter.export.families.latent.pair import Pair
from pocketcrafter.export.train.fit import FitSettings

HELD: Final = 0.1
"""Weight of the distance from the supervised artist's velocity."""


class Velocities(NamedTuple):
    """At one of the artist's noise levels: its own, the supervised artist's, and the one that leads to the picture."""

    own: Tensor
    supervised: Tensor
    true: Tensor

    def held(self) -> Tensor:
        """Return the mean square of what the artist is away from the supervised one."""
        return (self.own - self.supervised).square().mean()


class AlignedArtist(ABC):
    """An artist comes to make pictures of more reward, near to the supervised artist's.

    Parameters
    ----------
    pair
        Whose artist is trained; a copy of it stays as it is.
    judge
        Its critic asks the artist, and is not trained.
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
        self.artist = FlowArtist(pair, artist_settings(pair)).to(device)
        self._supervised = copy.deepcopy(self.artist).eval().requires_grad_(requires_grad=False)
        self.pair, self.judge, self.levels, self.weights, self.device = pair, judge, levels, weights, device
        self._source, self._settings = source, settings

    @property
    def model(self) -> FlowArtist:
        """The artist."""
        return self.artist

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.artist.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a step's frames, and for the log its rewards."""
        rng = np.random.default_rng([self._settings.seed, step])
        # bfloat16 is slower than float32 for convolutions of few channels, on CPUs that multiply either.
        with torch.autocast(self.device.type, enabled=self.device.type != "cpu"):
            asked = [self.judge.asked(Shot.of(self._source.draw(rng))) for _ in range(self._settings.batch)]
            return self.learnt(asked, rng)

    @abstractmethod
    def learnt(self, asked: Sequence[Asked], rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of some frames, and for the log its rewards.

        Parameters
        ----------
        asked
            The frames and the critic's answers.
        rng
            Draws what else is drawn.
        """

    def velocities(self, made: Tensor, shown: Shown, rng: np.random.Generator) -> Velocities:
        """Return the velocities of pictures at one of the artist's noise levels.

        Parameters
        ----------
        made
            Latents of the pictures, as the artist's network has them, ``(N, channels, side, side)``.
        shown
            What the artist was shown.
        rng
            Draws the level.
        """
        noise, level = torch.randn_like(made), float(rng.choice(self.levels.levels[:-1]))
        noisy, at = (1 - level) * made + level * noise, made.new_full((len(made),), level)
        with torch.no_grad():
            supervised = self._supervised(noisy, at, shown).float()
        return Velocities(self.artist(noisy, at, shown).float(), supervised, noise - made)
