"""Encoder and decoder of an artist's autoencoder, by its class."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.latent.artists.load import load_artist_network
from pocketcrafter.export.families.networks.diffusion import Decoder, Encoder

_LEAST: Final = 1e-12
"""What diffusers' normalization divides by at least."""


class _Means(nn.Module):
    """The means of latents, where an encoder gives their spreads too."""

    def __init__(self, inner: nn.Module, channels: int) -> None:
        super().__init__()
        self.inner, self.channels = inner, channels

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.inner(image)
        return out[:, : self.channels]


class _Affine(nn.Module):
    """``x·scale + shift`` by channel, before a network or after it."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", shift.reshape(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.get_buffer("scale") + self.get_buffer("shift")


class _ChannelNorm(nn.Module):
    """Divides by the length of a pixel's channels, times its root: RMS normalization of ``(1, C, H, W)``.

    The sum over channels is a product with ones: XNNPACK sums over rows and columns alone.
    """

    def __init__(self, norm: Any) -> None:  # noqa: ANN401 - diffusers is untyped
        super().__init__()
        self.scale = nn.Parameter((norm.gamma * norm.scale).reshape(1, -1, 1, 1), requires_grad=False)
        self.register_buffer("ones", torch.ones(1, 1, self.scale.shape[1]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        squares = torch.bmm(self.get_buffer("ones"), (x * x).reshape(1, channels, height * width))
        return x / squares.reshape(1, 1, height, width).sqrt().clamp(min=_LEAST) * self.scale


class _Attention(nn.Module):
    """Attention of a picture's pixels to all others, with one head."""

    def __init__(self, block: Any) -> None:  # noqa: ANN401 - diffusers is untyped
        super().__init__()
        self.norm, self.to_qkv, self.proj = _ChannelNorm(block.norm), block.to_qkv, block.proj

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        query, key, value = self.to_qkv(self.norm(x)).reshape(3, 1, channels, height * width).unbind(0)
        # Stacks of one: XNNPACK multiplies two activations in no other way.
        shares = F.softmax(torch.bmm(query.transpose(1, 2) * channels**-0.5, key), 2)
        seen = torch.bmm(value, shares.transpose(1, 2)).reshape(1, channels, height, width)
        out: Tensor = x + self.proj(seen)
        return out


def _flat_convolution(source: Any) -> nn.Module:  # noqa: ANN401 - diffusers is untyped
    """Return what a causal convolution over frames does to a first frame: before it lie zeros alone."""
    made = nn.Conv2d(
        source.in_channels,
        source.out_channels,
        source.kernel_size[1:],
        source.stride[1:],
        source._padding[0],
    )
    made.weight = nn.Parameter(source.weight[:, :, -1].clone(), requires_grad=False)
    made.bias = source.bias
    return made


def _upsampled(_source: nn.Module) -> nn.Module:
    # `nearest-exact` is the same at whole factors, and few exporters know it.
    return nn.Upsample(scale_factor=2.0, mode="nearest")


_FLAT: Final[Mapping[str, Callable[[Any], nn.Module]]] = {
    "QwenImageCausalConv3d": _flat_convolution,
    "QwenImageRMS_norm": _ChannelNorm,
    "QwenImageAttentionBlock": _Attention,
    "QwenImageResample": lambda source: cast("nn.Module", source.resample),
    "QwenImageUpsample": _upsampled,
}
"""What each module of Qwen-Image's autoencoder of videos does to a single picture ``(1, C, H, W)``."""


def _flattened(module: nn.Module) -> nn.Module:
    """Replace the modules of an autoencoder of videos by what they do to a single picture, in place."""
    for name, child in module.named_children():
        make = _FLAT.get(type(child).__name__)
        setattr(module, name, _flattened(child if make is None else make(child)))
    return module


def _plain_encoder(artist: Artist) -> nn.Module:
    return Encoder(load_artist_network(artist.folder / "vae"))


def _mean_encoder(artist: Artist) -> nn.Module:
    return _Means(_plain_encoder(artist), artist.channels)


def _decoder(artist: Artist) -> nn.Module:
    return Decoder(load_artist_network(artist.folder / "vae"))


def _qwen_encoder(artist: Artist) -> nn.Module:
    network = load_artist_network(artist.folder / "vae")
    means, deviations = _statistics(network)
    made = _Means(Encoder(_flattened(network)), artist.channels)
    return nn.Sequential(made, _Affine(1 / deviations, -means / deviations))


def _qwen_decoder(artist: Artist) -> nn.Module:
    network = load_artist_network(artist.folder / "vae")
    means, deviations = _statistics(network)
    return nn.Sequential(_Affine(deviations, means), Decoder(_flattened(network)))


def _statistics(network: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - diffusers is untyped
    """Return means and deviations of latents, by channel."""
    return torch.tensor(network.config.latents_mean), torch.tensor(network.config.latents_std)


_MADE: Final[Mapping[str, tuple[Callable[[Artist], nn.Module], Callable[[Artist], nn.Module]]]] = {
    "AutoencoderTiny": (_plain_encoder, _decoder),
    "AutoencoderKL": (_mean_encoder, _decoder),
    "AutoencoderKLQwenImage": (_qwen_encoder, _qwen_decoder),
}
"""Encoder and decoder, by the class of `pocketcrafter.export.families.latent.artists.kinds.AUTOENCODERS`."""


def encoder(artist: Artist) -> nn.Module:
    """Return the module from a picture in [-1, 1], ``(1, 3, H, W)``, to latents: means, never samples.

    Parameters
    ----------
    artist
        Whose autoencoder it is.

    Raises
    ------
    CheckpointError
        If the weights are not what the files hold.
    """
    return _MADE[artist.autoencoder["_class_name"]][0](artist)


def decoder(artist: Artist) -> nn.Module:
    """Return the module from latents, as :func:`encoder` gives them, to a picture in [-1, 1].

    Parameters
    ----------
    artist
        Whose autoencoder it is.

    Raises
    ------
    CheckpointError
        If the weights are not what the files hold.
    """
    return _MADE[artist.autoencoder["_class_name"]][1](artist)
