"""U-Nets as artists: diffusers' own and DreamLite's, alone or steered by a ControlNet."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.latent.artists.attention import set_unet_attention
from pocketcrafter.export.families.latent.artists.autoencoders import encoder
from pocketcrafter.export.families.latent.artists.kinds import Layout
from pocketcrafter.export.families.latent.artists.load import load_artist_network


class _UNet(nn.Module):
    masked: Tensor | None
    time_ids: Tensor | None
    cover: Tensor

    def __init__(self, unet: nn.Module, artist: Artist, control: nn.Module | None, masked: Tensor | None) -> None:
        super().__init__()
        self.unet, self.control = unet, control
        self.layout = artist.network.layout
        for network in (unet, *([] if control is None else [control])):
            set_unet_attention(network)
        for name, value in (("masked", masked), ("time_ids", _time_ids(artist))):
            self.register_buffer(name, value, persistent=False)
        size = artist.latent_side
        self.register_buffer("cover", torch.full((1, 1, size, size), artist.mask), persistent=False)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        mask: Tensor | None = None,
        pooled: Tensor | None = None,
        picture: Tensor | None = None,
        photo: Tensor | None = None,
    ) -> Tensor:
        """Predict a step; the tensors are told in `pocketcrafter.export.families.latent.artists.denoise`."""
        sample = _JOINED[self.layout](self, latents, picture)
        said: dict[str, Any] = {
            "encoder_hidden_states": text, "cross_attention_kwargs": {"mask": mask}, "return_dict": False,
            "added_cond_kwargs": {"text_embeds": pooled, "time_ids": self.time_ids},
        }  # fmt: skip
        if self.control is not None:
            down, middle = self.control(sample, timestep, controlnet_cond=photo, **said)
            said |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        out: Tensor = self.unet(sample, timestep, **said)[0]
        return out[:, :, :, : latents.shape[3]] if self.layout is Layout.DIPTYCH else out


def _channels(_net: _UNet, latents: Tensor, picture: Tensor | None) -> Tensor:
    return torch.cat([latents, *([] if picture is None else [picture])], 1)


def _diptych(_net: _UNet, latents: Tensor, picture: Tensor | None) -> Tensor:
    return torch.cat([latents, *([] if picture is None else [picture])], 3)


def _inpaint(net: _UNet, latents: Tensor, picture: Tensor | None) -> Tensor:
    return torch.cat([latents, net.cover, *(x for x in (picture, net.masked) if x is not None)], 1)


_JOINED: Final[Mapping[Layout, Callable[[_UNet, Tensor, Tensor | None], Tensor]]] = {
    Layout.NONE: lambda _net, latents, _picture: latents,
    Layout.CHANNELS: _channels,
    Layout.INPAINT: _inpaint,
    Layout.DIPTYCH: _diptych,
}


def unet(network: nn.Module, artist: Artist, _length: int) -> nn.Module:
    """Return the module that a bundle's `denoise` is, of a loaded U-Net.

    Parameters
    ----------
    network
        As diffusers loads it.
    artist
        What its configurations say.

    Raises
    ------
    CheckpointError
        If the weights of a ControlNet or of the autoencoder are not what their files hold.
    """
    control = None if artist.control is None else load_artist_network(artist.control)
    masked = None
    if artist.network.layout is Layout.INPAINT and not artist.shows_photo:
        grey = torch.zeros(1, 3, artist.side, artist.side)
        with torch.no_grad():
            masked = (encoder(artist)(grey) - artist.shift) * artist.scale
    return _UNet(network, artist, control, masked)


def _time_ids(artist: Artist) -> Tensor | None:
    """Return what SDXL and DreamLite are told of sizes: a picture as large as the artist's, not cut."""
    side = float(artist.side)
    known = {"text_time": [side, side, 0.0, 0.0, side, side], "time": [side, side]}
    numbers = known.get(str(artist.config.get("addition_embed_type")))
    return None if numbers is None else torch.tensor([numbers])
