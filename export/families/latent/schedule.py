"""A scheduler of diffusers as factors for each step, found by asking the scheduler itself, and its sinusoids of time.

Timesteps reach 1000, and the fastest sinusoid turns by a radian each. float16 has steps of 0.5 there and 8-bit integers
of 4: inside a network of either, the sinusoids would be of other timesteps. The runtime computes them, in float32.
"""

import copy
import importlib
import math
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.runtime.latent.settings import StepSettings, TimeSettings

_SHAPE: Final = (1, 1, 4, 4)
_LARGE: Final = 30.0
"""Latents far beyond where schedulers clip, so that clipping shows as what is not linear."""
_TOLERANCE: Final = 1e-4
_NAME: Final = "time_proj"
_LONGEST: Final = 10_000
"""Timesteps that the slowest sinusoid takes for a radian, in all of diffusers' networks."""


class Schedule:
    """A scheduler at a number of steps.

    Parameters
    ----------
    kind
        Class of diffusers.
    folder
        Its configuration's.
    steps
        How many.
    positions
        Positions of the latents, 2×2 values each: what dynamic shifting depends on.
    """

    def __init__(self, kind: str, folder: str, steps: int, positions: int) -> None:
        self._kind = kind
        self._scheduler: Any = getattr(importlib.import_module("diffusers"), kind).from_pretrained(
            folder, local_files_only=True
        )
        said: Any = self._scheduler.config
        if said.get("use_dynamic_shifting"):
            # What diffusers' pipelines of flow-matching networks with dynamic shifting do.
            slope = (said.max_shift - said.base_shift) / (said.max_image_seq_len - said.base_image_seq_len)
            shift = said.base_shift + slope * (positions - said.base_image_seq_len)
            self._scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist(), mu=shift)
        else:
            self._scheduler.set_timesteps(steps)
        self._times: list[Tensor] = list(self._scheduler.timesteps)

    def start(self, strength: float | None) -> tuple[int, float, float]:
        """Return where the steps begin, and the factors on noise and on the photo's latents there.

        Parameters
        ----------
        strength
            How much noise the photo's latents get, in (0, 1]; `None` begins at noise alone.
        """
        if strength is None:
            return 0, float(getattr(self._scheduler, "init_noise_sigma", 1.0)), 0.0
        count = len(self._times)
        first = count - max(1, min(int(count * strength), count))
        times = torch.stack([self._times[first]])
        _begin(self._scheduler, first)
        add = getattr(self._scheduler, "scale_noise", None)
        one, none = torch.ones(_SHAPE), torch.zeros(_SHAPE)
        if add is not None:
            noise, picture = add(none, times, one), add(one, times, none)
        else:
            noise, picture = (self._scheduler.add_noise(p, n, times) for p, n in ((none, one), (one, none)))
        return first, float(noise.flatten()[0]), float(picture.flatten()[0])

    def steps(self, first: int) -> tuple[StepSettings, ...]:
        """Return the factors of all steps from one on.

        Parameters
        ----------
        first
            The step's number, counted from 0.

        Raises
        ------
        CheckpointError
            If a step is not linear in latents and prediction, as where a scheduler clips, or keeps what it saw.
        """
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn(_SHAPE, generator=generator) * _LARGE for _ in range(2)]
        one, none = torch.ones(_SHAPE), torch.zeros(_SHAPE)
        probes = [(none, none), (one, none), (none, one), (drawn[0], drawn[1])]
        copies = [copy.deepcopy(self._scheduler) for _ in probes]
        for scheduler in copies:
            _begin(scheduler, first)
        found = []
        for time in self._times[first:]:
            scale, *_ = (float(_scaled(scheduler, one, time).flatten()[0]) for scheduler in copies)
            made = [_step(scheduler, time, *probe) for scheduler, probe in zip(copies, probes, strict=True)]
            fresh = torch.randn(_SHAPE, generator=torch.Generator().manual_seed(0))
            noise = abs(float((made[0] / fresh).flatten()[0]))
            keep, move = (float((m - made[0]).flatten()[0]) for m in made[1:3])
            expected = drawn[0] * keep + drawn[1] * move + fresh * noise
            if not torch.allclose(made[3], expected, rtol=_TOLERANCE, atol=_TOLERANCE * _LARGE):
                raise CheckpointError(
                    f"{self._kind}: a step at {float(time):g} is not linear in latents and prediction; turn "
                    "clip_sample and thresholding off in scheduler_config.json, where the artist was trained without."
                )
            found.append(StepSettings(timestep=float(time), scale=scale, keep=keep, move=move, noise=noise))
        return tuple(found)


def _begin(scheduler: Any, first: int) -> None:  # noqa: ANN401 - untyped
    if hasattr(scheduler, "set_begin_index"):  # DDIM's steps depend on the time alone
        scheduler.set_begin_index(first)


def _scaled(scheduler: Any, latents: Tensor, time: Tensor) -> Tensor:  # noqa: ANN401 - untyped
    """Return what the network is given; Euler's scheduler insists on being asked before each step."""
    scale = getattr(scheduler, "scale_model_input", None)
    made: Tensor = latents if scale is None else scale(latents, time)
    return made


def _step(scheduler: Any, time: Tensor, latents: Tensor, prediction: Tensor) -> Tensor:  # noqa: ANN401 - untyped
    generator = torch.Generator().manual_seed(0)
    made: Tensor = scheduler.step(prediction, time, latents, generator=generator, return_dict=False)[0]
    return made


class GivenTime:
    """The sinusoids of the call that is running; no module, so that exporters take what is written here for a value."""

    def __init__(self) -> None:
        self.features: Tensor | None = None


class _Sinusoids(nn.Module):
    """Stands where a network computes the sinusoids of its timestep, and returns those that it was called with."""

    def __init__(self, given: GivenTime) -> None:
        super().__init__()
        self.given = given

    def forward(self, timesteps: Tensor) -> Tensor:
        if self.given.features is None:
            raise RuntimeError("the network was called without its sinusoids")
        return self.given.features.expand(timesteps.shape[0], -1)


def take_out_sinusoids(network: nn.Module) -> GivenTime:
    """Replace what computes sinusoids in a network, in place; return where each call puts them.

    Parameters
    ----------
    network
        A denoising network, or some together that are told one timestep.

    Raises
    ------
    CheckpointError
        As :func:`time_settings`.
    """
    given = GivenTime()
    for name in _places(network):
        network.set_submodule(name, _Sinusoids(given))
    return given


def time_settings(artist: Artist) -> TimeSettings:
    """Return the sinusoids that an artist's network reads, from its configuration alone.

    Parameters
    ----------
    artist
        Whose network it is.

    Raises
    ------
    CheckpointError
        If its timestep is embedded in another way.
    """
    folder, unit = artist.denoiser, artist.kind.time_unit
    kind: Any = getattr(importlib.import_module("diffusers"), str(artist.config["_class_name"]))
    with torch.device("meta"):
        network: nn.Module = kind.from_config(kind.load_config(folder, local_files_only=True))
    module: Any = network.get_submodule(_places(network)[0])
    half = module.num_channels // 2
    exponents = torch.arange(half, dtype=torch.float32) * (-math.log(_LONGEST) / (half - module.downscale_freq_shift))
    return TimeSettings(
        frequencies=tuple((exponents.exp() * (module.scale * unit)).tolist()),
        cosines_first=bool(module.flip_sin_to_cos),
    )


def _places(network: nn.Module) -> list[str]:
    found = [(name, module) for name, module in network.named_modules() if name.rpartition(".")[2] == _NAME]
    known = {(m.num_channels, m.flip_sin_to_cos, m.downscale_freq_shift, m.scale) for _, m in found if _is_known(m)}
    if len(known) != 1 or not all(_is_known(module) for _, module in found):
        kinds = ", ".join(sorted({type(module).__name__ for _, module in found})) or "nothing"
        raise CheckpointError(
            f"{type(network).__name__}: its timestep is embedded by {kinds}; sinusoids of one kind (Timesteps, of an "
            "even number of channels) are known."
        )
    return [name for name, _ in found]


def _is_known(module: Any) -> bool:  # noqa: ANN401 - diffusers is untyped
    return type(module).__name__ == "Timesteps" and module.num_channels % 2 == 0
