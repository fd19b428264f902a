"""The language model of a foreign checkpoint: one component, whose functions share one set of weights."""

from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.models.language import CHUNK, Language, language_spec

PROMPT: Final = 32
"""Positions of a captioner's prompt as it is lowered; its step is the one that follows."""
MASKED: Final = -256.0
"""Nothing remains of a score so much lower, and 16-bit integers still have fine steps for the others."""
LENGTH: Final = 1024
"""Positions that the caches hold, where the model itself reads as many."""


@dataclass(frozen=True)
class LanguagePart(Part):
    """A language model, and the vectors of its words, ``(vocabulary, width)``."""

    table: Tensor


def language_part(text: nn.Module, head: nn.Linear) -> LanguagePart:
    """Return the one part of a transformers language model and its head."""
    config: Any = text.config
    length = min(LENGTH, int(config.max_position_embeddings))
    model = Language(text, head)
    spec = language_spec(model, length, min(CHUNK, length // 4))
    return LanguagePart(model, spec, text.get_submodule("embed_tokens").get_parameter("weight"))
