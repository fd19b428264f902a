"""Parts of transformers' SmolVLM and Idefics3: vision encoder with connector, and language model over embeddings.

A language model that is published alone is the latter part.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks.language import language_part
from pocketcrafter.export.families.networks.parts import make_part, tensor
from pocketcrafter.runtime.components import Role


def load(folder: Path, variant: str | None) -> nn.Module:
    """Load the class that the configuration names, with attention that every exporter takes apart."""
    return load_pretrained("AutoModelForImageTextToText", folder, variant)


def load_text(folder: Path, variant: str | None) -> nn.Module:
    """Load a language model that is published alone."""
    return load_pretrained("AutoModelForCausalLM", folder, variant)


def load_pretrained(kind: str, folder: Path, variant: str | None) -> nn.Module:
    """Load a class of transformers from disk alone, in float32, with attention that every exporter takes apart.

    Tensors of another shape are left for the audit to name, all of them.

    Parameters
    ----------
    kind
        Name of a class or auto class of transformers.
    folder
        The checkpoint.
    variant
        Variant of the weights, such as ``fp16``.
    """
    model: nn.Module = getattr(importlib.import_module("transformers"), kind).from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        variant=variant,
        ignore_mismatched_sizes=True,
        attn_implementation="eager",
        dtype=torch.float32,
    )
    return model


class _VisionEncoder(nn.Module):
    def __init__(self, model: nn.Module, picture: Tensor) -> None:
        super().__init__()
        inner = model.get_submodule("model")
        vision = inner.get_submodule("vision_model")
        embeddings = vision.get_submodule("embeddings")
        self.patches = embeddings.get_submodule("patch_embedding")
        self.encoder = vision.get_submodule("encoder")
        self.norm = vision.get_submodule("post_layernorm")
        self.connector = inner.get_submodule("connector")
        # Which place a patch has, the model finds by comparing fractions; for a whole picture it is always the same.
        with torch.no_grad():
            bare = self.patches(picture)
            placed = embeddings(picture, torch.ones(1, *bare.shape[2:], dtype=torch.bool))
        places = placed - bare.flatten(2).transpose(1, 2)
        self.register_buffer("places", places.contiguous(), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        # In this order: the first one's memory layout is the sum's, and the connector views rows as they lie.
        x = self.get_buffer("places") + self.patches(pixels).flatten(2).transpose(1, 2)
        out: Tensor = self.connector(self.norm(self.encoder(inputs_embeds=x)[0]))
        return out


def parts(model: nn.Module, config: Mapping[str, Any]) -> list[Part]:
    """Return the vision encoder, from a picture to its tokens, and the language model, over embeddings."""
    del config  # the loaded one has the defaults too
    known: Any = model.config
    pixels = known.vision_config.image_size
    picture = tensor("pixels", (1, known.vision_config.num_channels, pixels, pixels), -1.0, 1.0)
    encoder = make_part("vision", _VisionEncoder(model, torch.zeros(picture.shape)), Role.VISION, [picture], "tokens")
    text = model.get_submodule("model").get_submodule("text_model")
    return [encoder, language_part(text, cast("nn.Linear", model.get_submodule("lm_head")))]


def text_parts(model: nn.Module, config: Mapping[str, Any]) -> list[Part]:
    """Return the language model of a checkpoint that is one."""
    del config
    return [language_part(model.get_submodule("model"), cast("nn.Linear", model.get_submodule("lm_head")))]
