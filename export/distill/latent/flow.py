"""A latent pair's artist as a flow: its velocity for whole batches, at the noise levels that a phone runs it at."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple, cast

import torch
from torch import Tensor, nn

from pocketcrafter.export.families.latent.networks import settings_of
from pocketcrafter.export.families.latent.pair import Pair
from pocketcrafter.export.families.latent.parts import load_part
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.latent.settings import AffineSettings, ArtistSettings, Latent

FLOW_SCHEDULER: Final = "FlowMatchEulerDiscreteScheduler"
_TIMES: Final = 1000.0
"""What a scheduler of diffusers calls noise alone."""
_REST: Final = 1e-3
"""Noise that may be left behind the last step: diffusers' schedules end at a thousandth."""
_CONDITIONS: Final = ("text", "mask", "pooled")


class Shown(NamedTuple):
    """What an artist is shown of a batch of photos.

    Attributes
    ----------
    picture
        Their latents as the autoencoder gives them, ``(N, channels, side, side)``.
    hidden
        The critic's hidden states, padded, ``(N, positions, width)``; `None` for an artist whose conditions are fixed.
    mask
        1 for positions that are some, ``(N, positions)``.
    """

    picture: Tensor
    hidden: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class Levels:
    """Noise levels of an artist's steps.

    Attributes
    ----------
    levels
        Where each step begins and where the last one ends, falling; 1 is noise alone, 0 the picture.
    fresh
        Whether each step draws new noise, as consistency models are sampled, or goes along the flow.
    """

    levels: tuple[float, ...]
    fresh: bool

    def __len__(self) -> int:
        return len(self.levels) - 1

    def divided(self, steps: int) -> "Levels":
        """Return the levels of a teacher that takes equal steps between them, along the flow.

        Parameters
        ----------
        steps
            Of the teacher; a multiple of these.

        Raises
        ------
        ConfigError
            If it is no multiple.
        """
        if steps % len(self):
            raise ConfigError(
                f"A teacher of {steps} steps cannot teach {len(self)}: choose a multiple with --teacher-steps."
            )
        parts = steps // len(self)
        begun = [start + (end - start) * part / parts for start, end in pairwise(self.levels) for part in range(parts)]
        return Levels((*begun, self.levels[-1]), fresh=False)


def artist_settings(pair: Pair) -> ArtistSettings:
    """Return the settings of a pair's artist, as its bundles have them.

    Parameters
    ----------
    pair
        Its folder.

    Raises
    ------
    ConfigError
        If it has no artist.
    """
    made = settings_of(pair, None).artist
    if made is None:
        raise ConfigError(f"{pair.folder}: has no artist to train.")
    return made


def levels_of(settings: ArtistSettings, where: object) -> Levels:
    """Return the noise levels of a pair's own steps, as its bundles run them.

    Parameters
    ----------
    settings
        Of the artist.
    where
        Its folder, for messages.

    Raises
    ------
    ConfigError
        If its scheduler is no flow-matching one of straight paths from noise to picture.
    """
    steps = settings.steps
    starts = [step.timestep / _TIMES for step in steps]
    fresh = any(step.noise for step in steps)
    ends = [step.noise if fresh else start + step.move for start, step in zip(starts, steps, strict=True)]
    follow = all(abs(end - start) < _REST for end, start in zip(ends, starts[1:], strict=False))
    straight = fresh or all(abs(step.keep - 1) < _REST for step in steps)
    if not follow or not straight or abs(ends[-1]) > _REST or any(step.scale != 1 for step in steps):
        raise ConfigError(
            f"{where}: its steps are not those of a flow from noise to picture; {FLOW_SCHEDULER} has such, and an "
            "artist trained for another scheduler cannot be distilled yet."
        )
    return Levels((*starts, 0.0), fresh)


class FlowArtist(nn.Module):
    """The bridge and the denoising network of a pair, as one network that gives the flow's velocity: noise − picture.

    It runs the very modules that are lowered for phones, a row at a time under `torch.vmap`, so that any class of
    artists can be trained.

    Parameters
    ----------
    pair
        Its folder.
    settings
        Of its artist.

    Raises
    ------
    ConfigError
        If its artist is steered by a ControlNet.
    CheckpointError
        If weights are not what the files hold.
    """

    def __init__(self, pair: Pair, settings: ArtistSettings) -> None:
        super().__init__()
        if pair.artist is None or pair.artist.control is not None:
            raise ConfigError(f"{pair.folder}: an artist without a ControlNet is distilled; this has none such.")
        part = load_part(pair, Latent.DENOISE)
        bridge = load_part(pair, Latent.BRIDGE) if pair.bridge is not None else None
        self.settings = settings
        self.denoise = cast("nn.Module", part.network)
        self.bridge = None if bridge is None else cast("nn.Module", bridge.network)
        self._names = [t.name for t in part.spec.inputs]
        self._bridge_inputs = [] if bridge is None else [t.name for t in bridge.spec.inputs]
        self._bridge_outputs = [] if bridge is None else [t.name for t in bridge.spec.outputs]
        self.reads = "text" in self._names
        self.shape = part.spec.inputs[0].shape[1:]
        frequencies = torch.tensor(settings.time.frequencies, dtype=torch.float32)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.requires_grad_(requires_grad=True)

    def forward(self, latents: Tensor, level: Tensor, shown: Shown, *, conditioned: bool = True) -> Tensor:
        """Return the velocity, of the latents' shape.

        Parameters
        ----------
        latents
            ``(N, channels, side, side)``, noisy.
        level
            Their noise, ``(N,)``.
        shown
            Photos and hidden states.
        conditioned
            Otherwise hidden states of zeros are read, for guidance away from them.
        """
        inputs = self.inputs(latents, level, shown, conditioned=conditioned)
        made: Tensor = torch.func.vmap(self._row)(*inputs)
        return made

    def inputs(self, latents: Tensor, level: Tensor, shown: Shown, *, conditioned: bool = True) -> tuple[Tensor, ...]:
        """Return what the denoising network itself is given, in its order; parameters as for :meth:`forward`.

        Parameters
        ----------
        latents, level, shown, conditioned
            As there.
        """
        given: dict[str, Tensor] = {"latents": latents, "time": self._time(level)}
        if "picture" in self._names:
            given["picture"] = scaled(shown.picture, self.settings.picture)
        if self.reads:
            given |= self._conditions(shown, conditioned=conditioned)
        return tuple(given[name] for name in self._names)

    def picture(self, latents: Tensor, level: Tensor, shown: Shown) -> Tensor:
        """Return the picture's latents that the velocity leads to at once; the rest as for :meth:`forward`.

        Parameters
        ----------
        latents, level, shown
            As for :meth:`forward`.
        """
        velocity: Tensor = self(latents, level, shown)
        return latents - level[:, None, None, None] * velocity.float()

    def _row(self, *inputs: Tensor) -> Tensor:
        out: Tensor = self.denoise(*(x[None] for x in inputs))
        return out[0]

    def _time(self, level: Tensor) -> Tensor:
        angles = level[:, None] * _TIMES * self.get_buffer("frequencies")
        waves = angles.sin(), angles.cos()
        return torch.cat(waves[::-1] if self.settings.time.cosines_first else waves, 1)

    def _conditions(self, shown: Shown, *, conditioned: bool) -> dict[str, Tensor]:
        if shown.hidden is None or shown.mask is None:
            raise ConfigError("This artist reads a critic's hidden states, and there are none.")
        hidden, mask = shown.hidden if conditioned else shown.hidden * 0, shown.mask
        found = {"hidden": hidden, "text": hidden, "mask": mask}
        bridge = self.bridge
        if bridge is not None:

            def row(*inputs: Tensor) -> tuple[Tensor, ...]:
                return tuple(out[0] for out in bridge(*(x[None] for x in inputs)))

            outputs = torch.func.vmap(row)(*(found[name] for name in self._bridge_inputs))
            found |= dict(zip(self._bridge_outputs, outputs, strict=True))
        return {name: found[name] for name in _CONDITIONS if name in self._names}


@dataclass(frozen=True)
class Guided:
    """A teacher's velocity with classifier-free guidance folded in.

    Attributes
    ----------
    network
        The teacher, not trained.
    guidance
        1 follows its conditions as they are.
    """

    network: FlowArtist
    guidance: float = 1.0

    @torch.no_grad()
    def velocity(self, latents: Tensor, level: Tensor, shown: Shown) -> Tensor:
        """Return the velocity; see :meth:`FlowArtist.forward`.

        Parameters
        ----------
        latents, level, shown
            As there.
        """
        made: Tensor = self.network(latents, level, shown)
        if self.guidance == 1:
            return made
        away: Tensor = self.network(latents, level, shown, conditioned=False)
        return away + self.guidance * (made - away)


def along(teacher: Guided, start: Tensor, levels: Sequence[float], shown: Shown) -> list[Tensor]:
    """Return the states of a teacher along its flow, before each step and after the last.

    Parameters
    ----------
    teacher
        Whose velocity is followed.
    start
        Latents at the first level.
    levels
        Of its states.
    shown
        Photos and hidden states.
    """
    states = [start]
    for level, lower in pairwise(levels):
        at = start.new_full((len(start),), level)
        states.append(states[-1] + (lower - level) * teacher.velocity(states[-1], at, shown).float())
    return states


def sampled(artist: FlowArtist, start: Tensor, levels: Levels, shown: Shown) -> Tensor:
    """Return the latents at which an artist's own steps end.

    Parameters
    ----------
    artist
        Whose steps are taken.
    start
        Latents at the first level.
    levels
        Where each step begins, where the last one ends, and whether each draws new noise.
    shown
        Photos and hidden states.
    """
    latents = start
    for level, lower in pairwise(levels.levels):
        velocity = artist(latents, start.new_full((len(start),), level), shown).float()
        if levels.fresh:
            made = latents - level * velocity
            latents = (1 - lower) * made + lower * torch.randn_like(made)
        else:
            latents = latents + (lower - level) * velocity
    return latents


def started(noise: Tensor, picture: Tensor, settings: ArtistSettings) -> Tensor:
    """Return where an artist's steps begin.

    Parameters
    ----------
    noise
        Normal, ``(N, channels, side, side)``.
    picture
        Latents of the photos, as the autoencoder gives them.
    settings
        Of the artist.
    """
    return noise * settings.start_noise + scaled(picture, settings.latents) * settings.start_picture


def scaled(latents: Tensor, settings: AffineSettings) -> Tensor:
    """Return latents of the autoencoder as an artist's network has them.

    Parameters
    ----------
    latents
        As the autoencoder gives them.
    settings
        Factor and offset.
    """
    return (latents - settings.shift) * settings.scale
