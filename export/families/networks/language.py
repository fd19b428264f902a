"""The language model of a foreign checkpoint: one component, whose functions share one set of weights.

A recipe chooses how many positions they have, as far as the model allows.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal, cast

from pydantic import Field
from torch import Tensor, nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.models.language import Language, language_spec
from pocketcrafter.quantize.torch.embedding import quantize_embedding
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.embedding import TABLE
from pocketcrafter.runtime.errors import ConfigError

CHUNK: Final = 32
"""Positions that one call of `prefill` reads, where a recipe says no more."""
_CACHE: Final = 1024
"""Positions that the caches hold, likewise, where the model itself reads as many."""
_CHUNKS: Final = 2
"""Chunks that caches must have room for, and a step after them: so long are the texts that samples are drawn from."""
PROMPT: Final = 32
"""Positions of a captioner's prompt as it is lowered; its step is the one that follows."""
MASKED: Final = -256.0
"""Nothing remains of a score so much lower, and 16-bit integers still have fine steps for the others."""


class Positions(Config):
    """Sizes of a language model's functions; its weights are the same whatever they are."""

    cache: int | None = Field(
        None, ge=8, le=1 << 20, description=f"Positions that the caches hold: {_CACHE}, or all that the model reads."
    )
    chunk: int | None = Field(None, ge=2, le=4096, description=f"Positions that `prefill` reads at once: {CHUNK}.")

    def sizes(self, longest: int) -> tuple[int, int]:
        """Return the caches' length and the chunk for a model that reads ``longest`` positions.

        Raises
        ------
        ConfigError
            If the model does not read as many, or the caches hold no two chunks and a step.
        """
        cache = min(_CACHE, longest) if self.cache is None else self.cache
        if cache > longest:
            raise ConfigError(f"positions.cache is {cache}; the language model reads {longest} positions at most.")
        chunk = min(CHUNK, (cache - 1) // _CHUNKS) if self.chunk is None else self.chunk
        if _CHUNKS * chunk >= cache:
            raise ConfigError(
                f"positions: caches of {cache} hold no {_CHUNKS} chunks of {chunk} and a step; lengthen `cache`, or "
                f"make `chunk` {(cache - 1) // _CHUNKS} or less."
            )
        return cache, chunk


class LanguageSizes(Config):
    """What a recipe chooses of a language model beside its precision."""

    positions: Positions = Positions()
    embedding_bits: Literal[4, 8] = 8


@dataclass(frozen=True, kw_only=True)
class LanguagePart(Part):
    """A language model.

    Attributes
    ----------
    table
        Vectors of its words, ``(vocabulary, width)``.
    longest
        Positions that it reads.
    """

    table: Tensor
    longest: int

    @property
    def model(self) -> Language:
        """The network."""
        return cast("Language", self.network)

    def with_positions(self, positions: Positions) -> "LanguagePart":
        """Return the same model with functions of other sizes.

        Raises
        ------
        ConfigError
            If it cannot have them.
        """
        return replace(self, spec=language_spec(self.model, *positions.sizes(self.longest)))

    def with_embedding(self, bits: int) -> "LanguagePart":
        """Return the same model with a table of word vectors whose levels have other bits: 8 or 4."""
        return replace(self, files={TABLE: partial(quantize_embedding, self.table, bits=bits)})


def language_part(text: nn.Module, head: nn.Linear, deep: int = 0) -> LanguagePart:
    """Return the one part of a transformers language model and its head.

    Parameters
    ----------
    text, head, deep
        As for `pocketcrafter.export.models.language.Language`.

    Raises
    ------
    ConfigError
        If the language model is of another kind.
    """
    config: Any = text.config
    model, longest = Language(text, head, deep), int(config.max_position_embeddings)
    table = text.get_submodule("embed_tokens").get_parameter("weight")
    spec = language_spec(model, *Positions().sizes(longest))
    return LanguagePart(model, spec, {TABLE: partial(quantize_embedding, table)}, table=table, longest=longest)
