"""Diffusers' own networks, called as its pipelines call them: denoising networks and autoencoders, by class."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor


@dataclass(frozen=True)
class Told:
    """What a denoising network is told alike at every step.

    Attributes
    ----------
    side
        Pixels of the picture.
    text
        Conditions, ``(1, positions, width)``.
    pooled
        What sums them up, ``(1, width)``; `None` where the network takes none.
    beside
        Channels behind the noisy latents: the photo's latents, or a mask and the masked photo's.
    shown
        The photo's latents for networks that see them in another way; `None` for the others.
    photo
        Pixels in [0, 1], ``(1, 3, side, side)``.
    control
        The ControlNet beside a U-Net, or `None`.
    """

    side: int
    text: Tensor
    pooled: Tensor | None
    beside: tuple[Tensor, ...]
    shown: Tensor | None
    photo: Tensor
    control: Any


Predict = Callable[[Any, Tensor, Tensor, Told], Tensor]


def _unet(network: Any, latents: Tensor, time: Tensor, told: Told) -> Tensor:  # noqa: ANN401 - diffusers is untyped
    sample = torch.cat([latents, *told.beside], 1)
    side = float(told.side)
    # SDXL: height and width of the original, top and left of the cut, height and width of the target.
    sizes = torch.tensor([[side, side, 0.0, 0.0, side, side]], device=latents.device)
    said: dict[str, Any] = {"encoder_hidden_states": told.text}
    if told.pooled is not None:
        said["added_cond_kwargs"] = {"text_embeds": told.pooled, "time_ids": sizes}
    if told.control is not None:
        down, middle = told.control(sample, time, controlnet_cond=told.photo, return_dict=False, **said)
        said |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    out: Tensor = network(sample, time, **said).sample
    return out


def _dreamlite(network: Any, latents: Tensor, time: Tensor, told: Told) -> Tensor:  # noqa: ANN401 - likewise
    both = [latents] if told.shown is None else [latents, told.shown]
    out: Tensor = network(
        torch.cat(both, 3),
        time.expand(1),
        encoder_hidden_states=told.text,
        encoder_attention_mask=torch.ones(told.text.shape[:2], device=latents.device),
        added_cond_kwargs={"time_ids": torch.tensor([[float(told.side)] * 2], device=latents.device)},
    ).sample
    return out[..., : latents.shape[-1]]


def _sd3(network: Any, latents: Tensor, time: Tensor, told: Told) -> Tensor:  # noqa: ANN401 - likewise
    out: Tensor = network(torch.cat([latents, *told.beside], 1), told.text, told.pooled, time.expand(1)).sample
    return out


def _qwen_image(network: Any, latents: Tensor, time: Tensor, told: Told) -> Tensor:  # noqa: ANN401 - likewise
    pipeline = importlib.import_module("diffusers").QwenImageEditPipeline
    both = [latents] if told.shown is None else [latents, told.shown]
    tokens = [pipeline._pack_latents(x, 1, x.shape[1], *x.shape[-2:]) for x in both]
    side = latents.shape[-1] // 2
    made = network(
        torch.cat(tokens, 1),
        told.text,
        torch.ones(told.text.shape[:2], device=latents.device),
        time.expand(1) / 1000,
        img_shapes=[[(1, side, side)] * len(both)],
    ).sample[:, : side**2]
    factor = told.side // latents.shape[-1]
    out: Tensor = pipeline._unpack_latents(made, told.side, told.side, factor)[:, :, 0]
    return out


PREDICTIONS: Final[Mapping[str, Predict]] = {
    "UNet2DConditionModel": _unet,
    "DreamLiteUNetModel": _dreamlite,
    "SD3Transformer2DModel": _sd3,
    "QwenImageTransformer2DModel": _qwen_image,
}
"""What a network of each class predicts of noisy latents at a timestep."""


class Autoencoder:
    """An autoencoder of diffusers on single pictures.

    Parameters
    ----------
    network
        Of one of the classes that artists have.
    """

    def __init__(self, network: Any) -> None:  # noqa: ANN401 - likewise
        self._network, config = network, network.config
        self._statistics: tuple[Tensor, Tensor] | None = None
        if "latents_mean" in config and type(network).__name__ == "AutoencoderKLQwenImage":
            mean, deviation = (torch.tensor(config[f"latents_{name}"]).reshape(1, -1, 1, 1) for name in ("mean", "std"))
            self._statistics = mean.to(network.device), deviation.to(network.device)
        self._scale, self._shift = config.get("scaling_factor") or 1.0, config.get("shift_factor") or 0.0

    def encode(self, image: Tensor) -> Tensor:
        """Return the latents that a bundle's `encode` gives of a picture in [-1, 1]: means, not samples.

        Those of Qwen-Image's autoencoder are normalized by channel, which its pipelines do behind it.
        """
        if self._statistics is not None:
            mean, deviation = self._statistics
            video: Tensor = self._network.encode(image[:, :, None]).latent_dist.mode()
            return (video[:, :, 0] - mean) / deviation
        said = self._network.encode(image)
        latents: Tensor = said.latents if hasattr(said, "latents") else said.latent_dist.mode()
        return latents

    def scaled(self, encoded: Tensor) -> Tensor:
        """Return latents as they are denoised."""
        latents: Tensor = (encoded - self._shift) * self._scale
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Return the picture, about in [-1, 1], of latents as they are denoised."""
        encoded = latents / self._scale + self._shift
        if self._statistics is not None:
            mean, deviation = self._statistics
            video: Tensor = self._network.decode((encoded * deviation + mean)[:, :, None]).sample
            return video[:, :, 0]
        picture: Tensor = self._network.decode(encoded).sample
        return picture
