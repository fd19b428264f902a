"""The language model of a foreign checkpoint: one component, whose functions share one set of weights."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, cast

from torch import Tensor, nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks.positions import Positions
from pocketcrafter.export.models.language import Language, language_spec
from pocketcrafter.quantize.torch.embedding import quantize_embedding
from pocketcrafter.runtime.embedding import TABLE

PROMPT: Final = 32
"""Positions of a captioner's prompt as it is lowered; its step is the one that follows."""
MASKED: Final = -256.0
"""Nothing remains of a score so much lower, and 16-bit integers still have fine steps for the others."""


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
