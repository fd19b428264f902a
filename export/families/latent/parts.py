"""Takes a pair's networks apart into the components of the latent family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.latent.artists.autoencoders import decoder, encoder
from pocketcrafter.export.families.latent.artists.denoise import denoise_part
from pocketcrafter.export.families.latent.critics import CRITIC_CLASSES, Geometry
from pocketcrafter.export.families.latent.pair import PROJECTION, SUMMARY, Pair
from pocketcrafter.export.families.latent.prompt import critic_of, render_prompt
from pocketcrafter.export.families.networks import qwen, qwen3, vision_language
from pocketcrafter.export.families.networks.architecture import architecture_of
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.families.networks.folder import load_checked
from pocketcrafter.export.families.networks.language import LanguagePart, Positions
from pocketcrafter.export.families.networks.lora import merge
from pocketcrafter.export.families.networks.parts import make_part, tensor
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.latent.settings import Latent

_LEAST_CACHE: Final = 8


@dataclass(frozen=True)
class CriticParts:
    """The critic, the picture that it sees, and the prompt that its language model has room for."""

    geometry: Geometry
    vision: Part
    language: LanguagePart
    prompt: tuple[int, ...]


def load_critic(pair: Pair) -> CriticParts:
    """Load the critic, its weights held against the files value by value.

    Parameters
    ----------
    pair
        Whose critic it is.

    Raises
    ------
    CheckpointError
        If they are not what the files hold, or the prompt cannot be rendered.
    """
    critic, geometry = critic_of(pair), geometry_of(pair)
    architecture = architecture_of(critic.folder, CRITIC_CLASSES)
    model = load_checked(critic.folder, architecture, vision_language.load)
    merge(model, critic.adapters)
    vision, language = CRITIC_PARTS[architecture.name](model, geometry.side)
    prompt = render_prompt(pair, geometry.rows**2)
    positions = Positions(cache=max(_LEAST_CACHE, len(prompt) + pair.config.longest_answer))
    return CriticParts(geometry, vision, cast("LanguagePart", language).with_positions(positions), prompt)


def _idefics(model: nn.Module, _side: int) -> list[Part]:
    return vision_language.parts(model, {})


CRITIC_PARTS: Final[Mapping[str, Callable[[nn.Module, int], list[Part]]]] = {
    "Idefics3ForConditionalGeneration": _idefics,
    "SmolVLMForConditionalGeneration": _idefics,
    "Qwen2_5_VLForConditionalGeneration": qwen.picture_parts,
    "Qwen3VLForConditionalGeneration": qwen3.picture_parts,
}
"""Vision encoder of a square picture, and language model, by the class of
`pocketcrafter.export.families.latent.critics.CRITICS`; they take the model and the picture's side."""


def conditions(pair: Pair, prompt: int) -> int:
    """Return how many hidden states the artist reads at most.

    Parameters
    ----------
    pair
        Whose artist it is.
    prompt
        Ids of the whole prompt.
    """
    config = pair.config
    unread = config.longest_answer - 1  # nothing has read the last word
    return prompt + (unread if config.bridge_tokens is None else min(config.bridge_tokens, unread))


def load_part(pair: Pair, name: str) -> Part:
    """Load one component.

    Parameters
    ----------
    pair, name
        Which one: a key of the pair's roles.

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
    return _ARTISTS[Latent(name)](pair)


class _Bridge(nn.Module):
    """Maps hidden states to conditions, one by one, and their mean to what sums them up.

    Sums are products of stacks, which XNNPACK takes.
    """

    def __init__(self, maps: Mapping[str, nn.Linear], length: int) -> None:
        super().__init__()
        self.maps = nn.ModuleDict(maps)
        self.register_buffer("ones", torch.ones(1, length, 1), persistent=False)

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        made = [self.maps[PROJECTION](hidden)] if PROJECTION in self.maps else []
        if mask is not None:
            row = mask.reshape(1, 1, -1)
            shares = row / torch.bmm(row, self.get_buffer("ones"))
            made.append(self.maps[SUMMARY](torch.bmm(shares, hidden).reshape(1, -1)))
        return tuple(made)


def _bridge(pair: Pair) -> Part:
    bridge, critic = pair.bridge, pair.critic
    if bridge is None or critic is None:
        raise CheckpointError(f"{pair.folder}: has no bridge.")
    stored = load_file(bridge.file)
    if faulty := [name for name, value in stored.items() if not torch.isfinite(value.float()).all()]:
        raise CheckpointError(f"{bridge.file}: {', '.join(faulty)} has values that are not finite; write it again.")
    maps = {}
    for name in bridge.widths:
        weight, bias = stored[f"{name}.weight"].float(), stored.get(f"{name}.bias")
        with torch.device("meta"):
            maps[name] = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        values = {"weight": weight, **({} if bias is None else {"bias": bias.float()})}
        maps[name].load_state_dict(values, assign=True)
    length = _length(pair)
    inputs = [tensor("hidden", (1, length, critic.width))]
    if SUMMARY in maps:
        inputs.append(tensor("mask", (1, length), 0.0, 1.0))
    outputs = [{PROJECTION: "text", SUMMARY: "pooled"}[name] for name in maps]
    return make_part(
        Latent.BRIDGE, _Bridge(maps, length).requires_grad_(requires_grad=False), Role.BRIDGE, inputs, *outputs
    )


def _artist(pair: Pair) -> Artist:
    if pair.artist is None:
        raise CheckpointError(f"{pair.folder}: has no artist.")
    return pair.artist


def _denoise(pair: Pair) -> Part:
    return denoise_part(_artist(pair), pair.fixed, _length(pair) if pair.critic else 0)


def _encode(pair: Pair) -> Part:
    artist = _artist(pair)
    side = artist.autoencoder_side * artist.factor
    image = tensor("image", (1, 3, side, side), -1.0, 1.0)
    return make_part(Latent.ENCODE, encoder(artist), Role.ENCODE, [image], "latents")


def _decode(pair: Pair) -> Part:
    artist = _artist(pair)
    latents = tensor("latents", (1, artist.channels, artist.autoencoder_side, artist.autoencoder_side))
    return make_part(Latent.DECODE, decoder(artist), Role.DECODE, [latents], "image")


_ARTISTS: Final[Mapping[Latent, Callable[[Pair], Part]]] = {
    Latent.BRIDGE: _bridge,
    Latent.ENCODE: _encode,
    Latent.DENOISE: _denoise,
    Latent.DECODE: _decode,
}


def _length(pair: Pair) -> int:
    return conditions(pair, len(render_prompt(pair, geometry_of(pair).rows ** 2)))


def geometry_of(pair: Pair) -> Geometry:
    """Return the picture that a pair's critic sees, by its configuration.

    transformers' own configuration classes fill in what the file leaves out.

    Parameters
    ----------
    pair
        With a critic.

    Raises
    ------
    CheckpointError
        If the picture has a size that the critic cannot see.
    """
    from transformers import AutoConfig  # noqa: PLC0415 - takes a second

    critic = critic_of(pair)
    said: Any = AutoConfig.from_pretrained(critic.folder, local_files_only=True)
    return critic.kind.geometry(critic.folder, said, pair.config)
