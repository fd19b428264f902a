"""Takes a pair's networks apart into the components of the latent family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.latent.pair import BRIDGE_FILE, OFFSET, PROJECTION, Artist, Pair
from pocketcrafter.export.families.latent.prompt import render_prompt
from pocketcrafter.export.families.latent.time import take_out_sinusoids, time_settings
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.families.networks.diffusion import Decoder, Encoder
from pocketcrafter.export.families.networks.folder import load_folder, load_network
from pocketcrafter.export.families.networks.language import LanguagePart
from pocketcrafter.export.families.networks.parts import make_part, tensor
from pocketcrafter.export.families.networks.positions import Positions
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.latent.settings import Latent

_LEAST_CACHE: Final = 8
_ATTENTION: Final = ("attn1", "attn2")
"""Modules of transformer blocks that attend to the picture itself, and to the critic's states."""


@dataclass(frozen=True)
class CriticParts:
    """The critic, and the prompt that its language model has room for."""

    vision: Part
    language: LanguagePart
    prompt: tuple[int, ...]


def load_critic(pair: Pair) -> CriticParts:
    """Load the critic, its weights held against the files value by value.

    Raises
    ------
    CheckpointError
        If they are not what the files hold, or the prompt cannot be rendered.
    """
    parts = {part.spec.name: part for part in load_folder(pair.critic)}
    vision, language = parts[Latent.VISION], cast("LanguagePart", parts[Latent.LANGUAGE])
    prompt = render_prompt(pair, vision.spec.outputs[0].shape[-2])
    positions = Positions(cache=max(_LEAST_CACHE, len(prompt) + pair.config.longest_answer))
    return CriticParts(vision, language.with_positions(positions), prompt)


def conditions(pair: Pair, prompt: int) -> int:
    """Return how many hidden states the artist reads at most, of a prompt of so many ids."""
    return prompt + pair.config.longest_answer - 1


def load_part(pair: Pair, name: str) -> Part:
    """Load one component.

    Raises
    ------
    CheckpointError
        If the pair has none of this name, or its weights are not what the files hold.
    """
    if name not in pair.roles:
        raise CheckpointError(f"{pair.folder}: has no `{name}`; it has {', '.join(pair.roles)}.")
    if name in {Latent.VISION, Latent.LANGUAGE}:
        critic = load_critic(pair)
        return critic.vision if name == Latent.VISION else critic.language
    return _ARTISTS[Latent(name)](pair, cast("Artist", pair.artist))


def _bridge(pair: Pair, _artist: Artist) -> Part:
    stored = load_file(pair.folder / BRIDGE_FILE)
    if faulty := [name for name, value in stored.items() if not torch.isfinite(value.float()).all()]:
        raise CheckpointError(f"{pair.folder / BRIDGE_FILE}: {', '.join(faulty)} has values that are not finite.")
    weight = stored[PROJECTION].float()
    with torch.device("meta"):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=OFFSET in stored)
    linear.load_state_dict(
        {name.removeprefix("projection."): value.float() for name, value in stored.items()}, assign=True
    )
    hidden = tensor("hidden", (1, _length(pair), pair.critic_width))
    return make_part(Latent.BRIDGE, linear.requires_grad_(False), Role.BRIDGE, [hidden], "text")


class _MaskedAttention:
    """Attention of diffusers' transformer blocks in operators that every toolchain takes, over some of the states.

    Shares of states that are none are taken out after the softmax, and the others divided by what is left: diffusers
    adds -10000 to their scores, beside which 8-bit integers have no steps for the others.
    """

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 - diffusers is untyped
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Map ``(1, N, width)`` to itself; ``mask`` is ``(1, states)``, and means nothing for attention to itself."""
        del attention_mask, temb
        states = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            layer(x).reshape(x.shape[1], attn.heads, -1).transpose(0, 1)
            for layer, x in ((attn.to_q, hidden_states), (attn.to_k, states), (attn.to_v, states))
        )
        shares = F.softmax(torch.bmm(query * attn.scale, key.transpose(1, 2)), 2)
        if encoder_hidden_states is None or mask is None:
            mixed = torch.bmm(shares, value)
        else:
            column = mask.reshape(1, -1, 1)
            left = torch.bmm(shares.reshape(1, -1, shares.shape[2]), column)
            mixed = torch.bmm(shares, value * column) / left.reshape(shares.shape[0], -1, 1)
        out: Tensor = attn.to_out[0](mixed.transpose(0, 1).reshape(1, hidden_states.shape[1], -1))
        return out


class _Denoiser(nn.Module):
    """A U-Net that is given the photo's latents beside the noisy ones, or these alone."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet, self._given = unet, take_out_sinusoids(unet)
        for name, module in unet.named_modules():
            if name.endswith(_ATTENTION):
                cast("Any", module).set_processor(_MaskedAttention())

    def forward(self, latents: Tensor, time: Tensor, text: Tensor, mask: Tensor, *picture: Tensor) -> Tensor:
        sample = torch.cat([latents, *picture], 1) if picture else latents
        kwargs = {"mask": mask}
        self._given.features = time
        # The timestep itself is not read: any number stands for it.
        out: Tensor = self.unet(
            sample, time[:, 0], encoder_hidden_states=text, cross_attention_kwargs=kwargs, return_dict=False
        )[0]
        return out


def _denoise(pair: Pair, artist: Artist) -> Part:
    unet = load_network(artist.folder / "unet")
    size = int(artist.unet["sample_size"])
    latents = (1, artist.latent_channels, size, size)
    length = _length(pair)
    inputs = [
        tensor("latents", latents),
        tensor("time", (1, 2 * len(time_settings(artist.folder / "unet").frequencies)), -1.0, 1.0),
        tensor("text", (1, length, int(artist.unet["cross_attention_dim"]))),
        tensor("mask", (1, length), 0.0, 1.0),
        *([tensor("picture", latents)] if artist.shows_photo else []),
    ]
    return make_part(Latent.DENOISE, _Denoiser(unet), Role.DENOISE, inputs, "prediction")


class _Means(nn.Module):
    """The means of latents, where an encoder gives their spreads too."""

    def __init__(self, encoder: nn.Module, channels: int) -> None:
        super().__init__()
        self.encoder, self.channels = encoder, channels

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.encoder(image)
        return out[:, : self.channels]


def _encode(_pair: Pair, artist: Artist) -> Part:
    encoder: nn.Module = Encoder(load_network(artist.folder / "vae"))
    if artist.autoencoder["_class_name"] == "AutoencoderKL":
        encoder = _Means(encoder, artist.latent_channels)
    image = tensor("image", (1, 3, artist.side, artist.side), -1.0, 1.0)
    return make_part(Latent.ENCODE, encoder, Role.ENCODE, [image], "latents")


def _decode(_pair: Pair, artist: Artist) -> Part:
    size = int(artist.unet["sample_size"])
    latents = tensor("latents", (1, artist.latent_channels, size, size))
    return make_part(Latent.DECODE, Decoder(load_network(artist.folder / "vae")), Role.DECODE, [latents], "image")


_ARTISTS: Final[Mapping[Latent, Callable[[Pair, Artist], Part]]] = {
    Latent.BRIDGE: _bridge,
    Latent.ENCODE: _encode,
    Latent.DENOISE: _denoise,
    Latent.DECODE: _decode,
}


def _length(pair: Pair) -> int:
    return conditions(pair, len(render_prompt(pair, picture_places(pair))))


def picture_places(pair: Pair) -> int:
    """Return how many tokens the vision encoder makes of a picture, by the critic's configuration.

    transformers' own configuration classes fill in what the file leaves out.
    """
    from transformers import AutoConfig  # noqa: PLC0415 - takes a second

    said: Any = AutoConfig.from_pretrained(pair.critic, local_files_only=True)
    side = said.vision_config.image_size // said.vision_config.patch_size
    return int(side**2 // said.scale_factor**2)
