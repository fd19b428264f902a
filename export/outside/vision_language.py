"""Parts of transformers' SmolVLM and Idefics3: the eye with its connector, and the language model over embeddings."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from pocketcrafter.export.outside.part import Part, make_part, tensor
from pocketcrafter.runtime.components import Component

PROMPT: Final = 32
"""Positions of the language model as it is lowered: a whole prompt, without a cache."""


def load(folder: Path) -> nn.Module:
    """Load the class that the configuration names, with attention that every exporter takes apart."""
    kind = importlib.import_module("transformers").AutoModelForImageTextToText
    model: nn.Module = kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, attn_implementation="eager", dtype=torch.float32
    )
    return model


class _Eye(nn.Module):
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
        self.register_buffer("places", placed - bare.flatten(2).transpose(1, 2), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2) + self.get_buffer("places")
        out: Tensor = self.connector(self.norm(self.encoder(inputs_embeds=x)[0]))
        return out


class Language(nn.Module):
    """A language model over embeddings of a whole prompt; returns the logits of the word after it."""

    def __init__(self, text: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.text = text
        self.head = head

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map ``(1, PROMPT, width)`` to ``(1, words)``."""
        states = self.text(inputs_embeds=embeddings, use_cache=False, return_dict=False)[0]
        out: Tensor = self.head(states[:, -1])
        return out


def parts(model: nn.Module, config: Mapping[str, Any]) -> list[Part]:
    """Return the eye (a picture in, its tokens out) and the language model (embeddings in, the next word's logits)."""
    del config  # the loaded one has the defaults too
    known: Any = model.config
    pixels = known.vision_config.image_size
    picture = tensor("pixels", (1, known.vision_config.num_channels, pixels, pixels), -1.0, 1.0)
    embeddings = tensor("embeddings", (1, PROMPT, known.text_config.hidden_size))
    text = model.get_submodule("model").get_submodule("text_model")
    language = Language(text, model.get_submodule("lm_head"))
    return [
        make_part("eye", _Eye(model, torch.zeros(picture.shape)), Component.CRITIC, [picture], "tokens"),
        make_part("language", language, Component.DECODER, [embeddings], "logits"),
    ]
