"""Classes that artists are made of, and what each one's configuration asks for; nothing of torch is imported.

A further class is a row here, and a module beside this one that makes its network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pocketcrafter.export.families.networks.architecture import Architecture
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.runtime.components import Role

_HERE: Final = "pocketcrafter.export.families.latent.artists"
_STEM: Final = "diffusion_pytorch_model"
_FURTHER_CONDITIONS: Final = ("class_embed_type", "encoder_hid_dim", "time_cond_proj_dim", "num_class_embeds")
_TIME_IDS: Final = 6
"""SDXL: height and width of the original, top and left of the cut, height and width of the target."""


class Layout(StrEnum):
    """How a denoising network is given the photo's latents."""

    NONE = "none"
    """Not at all."""
    CHANNELS = "channels"
    """As further channels of the noisy latents."""
    INPAINT = "inpaint"
    """As further channels behind a mask, of the picture without what the mask covers."""
    DIPTYCH = "diptych"
    """To the right of the noisy latents: one picture twice as wide."""
    TOKENS = "tokens"
    """As further tokens behind those of the noisy latents."""


@dataclass(frozen=True)
class Network:
    """What an artist's denoising network takes, by its configuration.

    Attributes
    ----------
    layout
        How it is given the photo's latents.
    width
        Of its conditions: prompt embeddings, or the critic's hidden states behind the bridge.
    pooled
        Width of the one vector that sums the conditions up; 0 where it takes none.
    size
        Side of its latents; `None` where the configuration says none.
    multiple
        What the side of its latents must be a multiple of.
    """

    layout: Layout
    width: int
    pooled: int = 0
    size: int | None = None
    multiple: int = 1


@dataclass(frozen=True)
class ArtistKind:
    """A class of denoising networks.

    Attributes
    ----------
    folder
        What pipelines call it: ``unet`` or ``transformer``.
    read
        Tells what a configuration asks for. It is given the configuration's file, the configuration, the channels of
        the latents and the pipeline's class, and raises `CheckpointError`.
    network
        ``module:function`` that makes the module: it takes the loaded network, an
        :class:`~pocketcrafter.export.families.latent.artist_folder.Artist`, and how many positions conditions have.
    time_unit
        What the network is told of a scheduler's timestep of 1.
    """

    folder: str
    read: Callable[[Path, Mapping[str, Any], int, str], Network]
    network: str
    time_unit: float = 1.0


@dataclass(frozen=True)
class AutoencoderKind:
    """A class of autoencoders.

    Attributes
    ----------
    channels, factor
        Tell of a configuration how many channels latents have, and how many pixels lie along the side of one latent.
    """

    channels: Callable[[Mapping[str, Any]], int]
    factor: Callable[[Mapping[str, Any]], int]


def _unet(where: Path, config: Mapping[str, Any], channels: int, _pipeline: str) -> Network:
    pooled = _pooled(where, config)
    _check_out(where, config, channels)
    layouts = {channels: Layout.NONE, 2 * channels: Layout.CHANNELS, 2 * channels + 1: Layout.INPAINT}
    taken = config.get("in_channels", 4)
    if taken not in layouts:
        raise CheckpointError(
            f"{where}: in_channels is {taken}; over {channels} latent channels an artist takes {channels}, "
            f"{2 * channels} with the photo's, or {2 * channels + 1} with a mask and the masked photo's."
        )
    return Network(
        layouts[taken],
        _one_width(where, config),
        pooled,
        config.get("sample_size"),
        _halved(config.get("down_block_types")),
    )


def _dreamlite(where: Path, config: Mapping[str, Any], channels: int, _pipeline: str) -> Network:
    _refuse_further(where, config)
    _check_out(where, config, channels)
    _check_in(where, config, channels, channels)
    if config.get("addition_embed_type") not in {None, "time"}:
        raise CheckpointError(f"{where}: addition_embed_type is {config['addition_embed_type']}; known is `time`.")
    width = _one_width(where, config)
    return Network(
        Layout.DIPTYCH, width, size=config.get("sample_size"), multiple=_halved(config.get("down_block_types"))
    )


def _sd3(where: Path, config: Mapping[str, Any], channels: int, _pipeline: str) -> Network:
    patch = int(config.get("patch_size", 2))
    _check_out(where, config, channels)
    taken = config.get("in_channels", 16)
    if taken not in {channels, 2 * channels}:
        raise CheckpointError(
            f"{where}: in_channels is {taken}; over {channels} latent channels an artist takes {channels}, or "
            f"{2 * channels} with the photo's."
        )
    return Network(
        Layout.NONE if taken == channels else Layout.CHANNELS,
        int(config.get("joint_attention_dim", 4096)),
        int(config.get("pooled_projection_dim", 2048)),
        config.get("sample_size", 128),
        patch,
    )


def _qwen_image(where: Path, config: Mapping[str, Any], channels: int, pipeline: str) -> Network:
    patch = int(config.get("patch_size", 2))
    if config.get("guidance_embeds") or config.get("use_additional_t_cond") or config.get("use_layer3d_rope"):
        raise CheckpointError(
            f"{where}: guidance_embeds, use_additional_t_cond or use_layer3d_rope is on; an artist has none of these."
        )
    _check_in(where, config, channels * patch**2, channels)
    _check_out(where, config, channels)
    layout = Layout.TOKENS if "Edit" in pipeline else Layout.NONE
    return Network(layout, int(config.get("joint_attention_dim", 3584)), multiple=patch)


ARTISTS: Final[Mapping[str, ArtistKind]] = {
    "UNet2DConditionModel": ArtistKind("unet", _unet, f"{_HERE}.unet:unet"),
    "DreamLiteUNetModel": ArtistKind("unet", _dreamlite, f"{_HERE}.unet:unet"),
    "SD3Transformer2DModel": ArtistKind("transformer", _sd3, f"{_HERE}.sd3:sd3"),
    "QwenImageTransformer2DModel": ArtistKind("transformer", _qwen_image, f"{_HERE}.qwen_image:qwen_image", 1e-3),
}
"""By the class that a configuration names."""


def _halved(blocks: Sequence[object] | None) -> int:
    """Return the factor by which networks of so many blocks, four where none are told, halve a side."""
    return int(2 ** (len(blocks or (1,) * 4) - 1))


def _blocks(config: Mapping[str, Any]) -> int:
    return _halved(config.get("encoder_block_out_channels") or config.get("block_out_channels"))


AUTOENCODERS: Final[Mapping[str, AutoencoderKind]] = {
    "AutoencoderTiny": AutoencoderKind(lambda config: int(config.get("latent_channels", 4)), _blocks),
    "AutoencoderKL": AutoencoderKind(lambda config: int(config.get("latent_channels", 4)), _blocks),
    "AutoencoderKLQwenImage": AutoencoderKind(
        lambda config: int(config.get("z_dim", 16)), lambda config: _halved(config.get("dim_mult"))
    ),
}
"""By the class that a configuration names."""

CONTROL: Final = "controlnet"
"""The folder of a network that reads the photo's pixels and steers a U-Net."""

CLASSES: Final[Mapping[str, Architecture]] = {
    name: Architecture(name, _STEM, components)
    for names, components in (
        ([*ARTISTS, "ControlNetModel"], {"denoise": Role.DENOISE}),
        (list(AUTOENCODERS), {"encode": Role.ENCODE, "decode": Role.DECODE}),
    )
    for name in names
}
"""All classes of diffusers that an artist's folder may hold."""


def _pooled(where: Path, config: Mapping[str, Any]) -> int:
    """Return the width of SDXL's pooled vector, 0 where a U-Net has no added conditions."""
    _refuse_further(where, config)
    kind = config.get("addition_embed_type")
    if kind is None:
        return 0
    if kind != "text_time":
        raise CheckpointError(f"{where}: addition_embed_type is {kind}; known is SDXL's, text_time.")
    both, each = (config.get(name) for name in ("projection_class_embeddings_input_dim", "addition_time_embed_dim"))
    if not isinstance(both, int) or not isinstance(each, int) or both <= _TIME_IDS * each:
        raise CheckpointError(
            f"{where}: projection_class_embeddings_input_dim {both} has no room for {_TIME_IDS} numbers of "
            f"addition_time_embed_dim {each} channels each and a pooled vector."
        )
    return both - _TIME_IDS * each


def _refuse_further(where: Path, config: Mapping[str, Any]) -> None:
    if more := [name for name in _FURTHER_CONDITIONS if config.get(name)]:
        raise CheckpointError(
            f"{where}: the network wants further conditions ({', '.join(more)}), which none gives: an artist reads "
            "prompt embeddings, and SDXL's or SD3's pooled vector."
        )


def _check_out(where: Path, config: Mapping[str, Any], channels: int) -> None:
    if config.get("out_channels", channels) != channels:
        raise CheckpointError(
            f"{where}: out_channels is {config['out_channels']}, and the autoencoder has {channels} latent channels."
        )


def _check_in(where: Path, config: Mapping[str, Any], wanted: int, channels: int) -> None:
    if config.get("in_channels", wanted) != wanted:
        raise CheckpointError(
            f"{where}: in_channels is {config['in_channels']}; over {channels} latent channels it must be {wanted}."
        )


def _one_width(where: Path, config: Mapping[str, Any]) -> int:
    width = config.get("cross_attention_dim")
    if not isinstance(width, int):
        raise CheckpointError(f"{where}: cross_attention_dim is {width}; it must be one number.")
    return width
