"""Takes the sinusoids of the timestep out of a denoising network: the runtime computes them, in float32.

Timesteps reach 1000, and the fastest sinusoid turns by a radian each. float16 has steps of 0.5 there and 8-bit integers
of 4: inside a network of either, the sinusoids would be of other timesteps.
"""

import importlib
import math
from typing import Any, Final

import torch
from torch import Tensor, nn

from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.runtime.latent.settings import TimeSettings

_NAME: Final = "time_proj"
_LONGEST: Final = 10_000
"""Timesteps that the slowest sinusoid takes for a radian, in all of diffusers' networks."""


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
