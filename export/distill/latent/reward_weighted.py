"""A latent artist learns from rewards by reward-weighted regression (Peters and Schaal, 2007), without likelihoods.

Of each frame the artist makes a group of pictures from other noise. Their mean, those of more reward weighing more, is
what the artist is to make from each of the group's noises, at every step that it takes.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.export.distill.latent.flow import FlowArtist, Levels, Shown, passed, started
from pocketcrafter.export.distill.latent.frames import FrameSource, as_tensor
from pocketcrafter.export.distill.latent.pair_judge import PairJudge
from pocketcrafter.export.distill.latent.rewards import Reward, Shot, advantages, rewards_of, total
from pocketcrafter.export.train.fit import FitSettings

GROUP: Final = 8
"""Pictures of each frame."""
_SHARPNESS: Final = 1.0
"""A picture one standard deviation above its group's mean weighs e times one at the mean; 0 would be the plain mean."""
_REST: Final = 0.01
"""A step that begins at less noise changes no picture: diffusers' last one goes from a thousandth to 0."""


class ArtistAlignmentTask:
    """An artist comes to make pictures of more reward.

    Parameters
    ----------
    artist
        Trained.
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
        artist: FlowArtist,
        judge: PairJudge,
        levels: Levels,
        source: FrameSource,
        weights: Mapping[Reward, float],
        settings: FitSettings,
        device: torch.device,
    ) -> None:
        self._artist, self._judge = artist.to(device), judge
        self._levels = Levels(tuple(each for each in levels.levels if not 0 < each < _REST), levels.fresh)
        self._source, self._weights, self._settings, self._device = source, weights, settings, device

    @property
    def model(self) -> nn.Module:
        """The artist."""
        return self._artist

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self._artist.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a step's groups, each picture's at one of the artist's steps, and for the log rewards."""
        # bfloat16 is slower than float32 for convolutions of few channels, on CPUs that multiply either.
        with torch.autocast(self._device.type, enabled=self._device.type != "cpu"):
            return self._loss(step)

    def _loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        rng = np.random.default_rng([self._settings.seed, step])
        asked = [self._judge.asked(Shot.of(self._source.draw(rng))) for _ in range(self._settings.batch)]
        given = [np.concatenate(each) for each in zip(*((a.photo, a.hidden, a.mask) for a in asked), strict=True)]
        shown = Shown(*(as_tensor(np.repeat(array, GROUP, 0), self._device) for array in given))
        with torch.no_grad():
            start = started(torch.randn_like(shown.picture), shown.picture, self._artist.settings)
            *states, made = passed(self._artist, start, self._levels, shown)
        groups = made.view(len(asked), GROUP, *made.shape[1:])
        judged = [self._judge.painted(one, group) for one, group in zip(asked, groups.cpu().numpy(), strict=True)]
        rewards = rewards_of(judged, [one.shot for one in asked])
        above = advantages(total(rewards, self._weights), self._device).view(len(asked), GROUP)
        weights = (_SHARPNESS * above).softmax(1)[:, :, None, None, None]
        aimed = (weights * groups).sum(1).repeat_interleave(GROUP, 0)
        places = torch.from_numpy(rng.integers(len(states), size=len(made))).to(self._device)
        noisy = torch.stack(states)[places, torch.arange(len(made), device=self._device)]
        levels = made.new_tensor(self._levels.levels)[places]
        told = {name.value: float(rewards[name].mean()) for name in self._weights}
        return (self._artist.picture(noisy, levels, shown) - aimed).square().mean(), told
