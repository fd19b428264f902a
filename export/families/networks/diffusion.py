"""Parts of diffusers' networks: the U-Net that denoises latents, and the autoencoders around it."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.families.networks.parts import make_part, tensor
from pocketcrafter.runtime.components import Role

_TEXT_TOKENS: Final = 77
_LATENT_PX: Final = 64
_LAST_STEP: Final = 999.0


def load(folder: Path, variant: str | None) -> nn.Module:
    """Load the class that the configuration names, in float32; tensors of another shape are left for the audit."""
    name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"]
    kind = getattr(importlib.import_module("diffusers"), name)
    model: nn.Module = kind.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        variant=variant,
        ignore_mismatched_sizes=True,
        torch_dtype=torch.float32,
    )
    return model


class _UNet(nn.Module):
    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        out: Tensor = self.unet(sample, timestep, encoder_hidden_states=text, return_dict=False)[0]
        return out


class Encoder(nn.Module):
    """From a picture in [-1, 1] to latents, or to the means and spreads of latents."""

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(1, 3, H, W)`` to what the autoencoder makes of it before any sampling."""
        said: Any = self.autoencoder.get_submodule("encoder")(image)
        quant = getattr(self.autoencoder, "quant_conv", None)
        out: Tensor = said if quant is None else quant(said)
        return out


class Decoder(nn.Module):
    """From latents, as the encoder gives them, to a picture in [-1, 1]."""

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents ``(1, channels, h, w)`` to ``(1, 3, H, W)``."""
        quant = getattr(self.autoencoder, "post_quant_conv", None)
        out: Tensor = self.autoencoder.get_submodule("decoder")(latents if quant is None else quant(latents))
        return out


def unet_parts(model: nn.Module, config: Mapping[str, Any]) -> list[Part]:
    """Return the whole U-Net: a noisy latent, a step and the text's states in, the prediction out.

    Raises
    ------
    CheckpointError
        If it takes more than those (SDXL's added conditions).
    """
    if config.get("addition_embed_type"):
        raise CheckpointError(f"A U-Net with {config['addition_embed_type']} conditions (SDXL) is not taken yet.")
    size = config.get("sample_size") or _LATENT_PX
    width = config["cross_attention_dim"]
    inputs = (
        tensor("sample", (1, config["in_channels"], size, size)),
        tensor("timestep", (1,), 0.0, _LAST_STEP),
        tensor("text", (1, _TEXT_TOKENS, width[-1] if isinstance(width, list) else width)),
    )
    return [make_part("denoise", _UNet(model), Role.DENOISE, inputs, "prediction")]


def autoencoder_parts(model: nn.Module, config: Mapping[str, Any]) -> list[Part]:
    """Return encoder (a picture in, latents or their moments out) and decoder (latents in, a picture out)."""
    pixels = config.get("sample_size") or 8 * _LATENT_PX
    encoder = Encoder(model)
    image = tensor("image", (1, config["in_channels"], pixels, pixels), -1.0, 1.0)
    first = make_part("encode", encoder, Role.ENCODE, [image], "latents")
    side = first.spec.outputs[0].shape[-1]
    latents = tensor("latents", (1, config["latent_channels"], side, side))
    return [first, make_part("decode", Decoder(model), Role.DECODE, [latents], "image")]
