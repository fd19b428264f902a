"""The component `denoise`: an artist's network, with what is the same for every photo inside it.

Its inputs, in this order, and only those that the network takes:

``latents``
    Noisy latents, ``(1, channels, side, side)``, scaled as the step asks.
``time``
    Sinusoids of the timestep, ``(1, sinusoids)``.
``text``
    Conditions, ``(1, positions, width)``; none where they are fixed.
``mask``
    1 for positions that are some, 0 for padding, ``(1, positions)``; likewise.
``pooled``
    What sums the conditions up, ``(1, width)``; likewise.
``picture``
    The photo's latents, as ``latents``.
``photo``
    The photo's pixels in [0, 1], ``(1, 3, pixels, pixels)``, for a ControlNet.
"""

from collections.abc import Sequence

import torch
from safetensors import safe_open
from torch import Tensor, nn

from pocketcrafter.export.families.family import Part, referenced
from pocketcrafter.export.families.latent.artist_folder import POOLED, PROMPT, Artist, FixedConditions
from pocketcrafter.export.families.latent.artists.load import load_artist_network
from pocketcrafter.export.families.latent.schedule import take_out_sinusoids, time_settings
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.families.networks.parts import make_part, tensor
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.latent.settings import Latent


class _Denoise(nn.Module):
    """Calls an artist's module by names, of the inputs and of what is fixed."""

    def __init__(self, network: nn.Module, names: Sequence[str], fixed: dict[str, Tensor]) -> None:
        super().__init__()
        self.network, self.names, self.fixed = network, tuple(names), tuple(fixed)
        self._given = take_out_sinusoids(network)
        for name, value in fixed.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Predict a step of the inputs that the module's own docstring names."""
        given = dict(zip(self.names, inputs, strict=True))
        self._given.features = time = given.pop("time")
        fixed = {name: self.get_buffer(name) for name in self.fixed}
        # The timestep itself is not read: any number stands for it.
        out: Tensor = self.network(timestep=time[:, 0], **given, **fixed)
        return out


def denoise_part(artist: Artist, fixed: FixedConditions | None, length: int) -> Part:
    """Return the component `denoise`.

    Parameters
    ----------
    artist
        Whose network it is.
    fixed
        Conditions that are the same for every photo.
    length
        Positions of conditions that come of the critic.

    Raises
    ------
    CheckpointError
        If weights are not what the files hold, or fixed conditions are not finite.
    """
    values = {} if fixed is None else _values(fixed)
    said = "text" in values
    network = referenced(artist.kind.network)(
        load_artist_network(artist.denoiser, artist.adapters), artist, values["text"].shape[1] if said else length
    )
    shape = (1, artist.channels, artist.latent_side, artist.latent_side)
    inputs = [
        tensor("latents", shape),
        tensor("time", (1, 2 * len(time_settings(artist).frequencies)), -1.0, 1.0),
        *([] if said else [tensor("text", (1, length, artist.network.width)), tensor("mask", (1, length), 0.0, 1.0)]),
        *([tensor("pooled", (1, artist.network.pooled))] if artist.network.pooled and "pooled" not in values else []),
        *([tensor("picture", shape)] if artist.shows_photo else []),
        *([tensor("photo", (1, 3, artist.side, artist.side), 0.0, 1.0)] if artist.control else []),
    ]
    module = _Denoise(network, [each.name for each in inputs], values)
    return make_part(Latent.DENOISE, module, Role.DENOISE, inputs, "prediction")


def _values(fixed: FixedConditions) -> dict[str, Tensor]:
    names = {PROMPT: "text", POOLED: "pooled"}
    found: dict[str, Tensor] = {}
    with safe_open(fixed.file, "pt") as opened:
        for stored in opened.keys():  # noqa: SIM118 - no mapping
            value = opened.get_tensor(stored).float()
            if not torch.isfinite(value).all():
                raise CheckpointError(f"{fixed.file}: `{stored}` has values that are not finite; write it again.")
            found[names[stored]] = value[None]
    return found
