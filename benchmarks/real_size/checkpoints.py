"""Checkpoints of published configurations with random weights, as their libraries lay them out."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from torch import nn

from pocketcrafter.benchmarks.common.names import Published
from pocketcrafter.benchmarks.common.random_weights import write_random

_SIDE: Final = 512
"""Pixels of an artist's picture."""
_WORDS: Final = 77
"""Positions of an artist's fixed conditions: those of CLIP."""


def write_checkpoint(published: Published, out: Path, layers: int | None = None) -> int:
    """Write a checkpoint with random float16 weights, one tensor after the other.

    Parameters
    ----------
    published
        A vision-language model, in transformers' layout; or a denoising network, as the artist of a latent pair: its
        pipeline in diffusers' layout, with an autoencoder and fixed conditions.
    out
        The folder that it goes to.
    layers
        Layers of a language model; as published when not given.

    Returns
    -------
    int
        How many parameters the model or the denoising network has.
    """
    return _WRITERS[published](out, layers)


def _smolvlm(out: Path, layers: int | None, **text: int) -> int:
    transformers = importlib.import_module("transformers")
    config = transformers.Idefics3Config(
        vision_config={
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "image_size": 512, "patch_size": 16,
        },
        text_config={
            "model_type": "llama", "head_dim": 64, "vocab_size": 49280, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
            "max_position_embeddings": 8192, "pad_token_id": 2, "tie_word_embeddings": False,
            **text, **({} if layers is None else {"num_hidden_layers": layers}),
        },
        scale_factor=4, image_token_id=49190, pad_token_id=2, tie_word_embeddings=False,
        architectures=["Idefics3ForConditionalGeneration"],
    )  # fmt: skip
    with torch.device("meta"):
        network = transformers.Idefics3ForConditionalGeneration(config)
    config.save_pretrained(out)
    network.generation_config.save_pretrained(out)
    return write_random(out / "model.safetensors", _shapes(network), "F16")


def _artist(
    out: Path,
    kind: str,
    pipeline: str,
    scheduler: str,
    schedule: Mapping[str, Any],
    **config: Any,  # noqa: ANN401
) -> int:
    diffusers = importlib.import_module("diffusers")
    with torch.device("meta"):
        unet, vae = getattr(diffusers, kind)(**config), diffusers.AutoencoderTiny()
    made = {}
    for name, network in (("unet", unet), ("vae", vae)):
        network.save_config(out / name)
        weights = out / name / "diffusion_pytorch_model.safetensors"
        made[name] = write_random(weights, _shapes(network), "F16")
    getattr(diffusers, scheduler)(**schedule).save_pretrained(out / "scheduler")
    (out / "model_index.json").write_text(f'{{"_class_name": "{pipeline}"}}', encoding="utf-8")
    write_random(out.parent / "prompt.safetensors", {"prompt_embeds": (_WORDS, unet.config.cross_attention_dim)}, "F16")
    (out.parent / "pair.yaml").write_text(yaml.safe_dump({"side": _SIDE}), encoding="utf-8")
    return made["unet"]


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


_WRITERS: Final[Mapping[Published, Callable[[Path, int | None], int]]] = {
    Published.SMOLVLM_256M: lambda out, layers: _smolvlm(
        out, layers, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3,
    ),
    Published.SMOLVLM_500M: lambda out, layers: _smolvlm(
        out, layers, hidden_size=960, intermediate_size=2560, num_hidden_layers=32, num_attention_heads=15,
        num_key_value_heads=5,
    ),
    Published.DREAMLITE: lambda out, _layers: _artist(
        out / "artist", "DreamLiteUNetModel", "DreamLiteMobilePipeline", "FlowMatchEulerDiscreteScheduler",
        {"shift": 3.0},
    ),
    Published.SD15: lambda out, _layers: _artist(
        out / "artist", "UNet2DConditionModel", "StableDiffusionImg2ImgPipeline", "DDIMScheduler",
        {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False},
        cross_attention_dim=768,
    ),
}  # fmt: skip
"""SmolVLM-256M- and -500M-Instruct, whose output layer is apart from the table of words; DreamLite's U-Net as its class
has it by default; Stable Diffusion 1.5's."""
