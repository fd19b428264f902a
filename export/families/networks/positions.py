"""How many positions the functions of a language model have: what a recipe may choose, and what the model allows."""

from typing import Final, Literal

from pydantic import Field

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError

CHUNK: Final = 32
"""Positions that one call of `prefill` reads, where a recipe says no more."""
_CACHE: Final = 1024
"""Positions that the caches hold, likewise, where the model itself reads as many."""
_CHUNKS: Final = 2
"""Chunks that caches must have room for, and a step after them: so long are the texts that samples are drawn from."""


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
