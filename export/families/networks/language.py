"""Parts of a foreign language model: one reads a whole prompt, the other one more position after what is in its cache.

Both are what optimum exports as a decoder with past key values, at static shapes, which every target takes.
"""

import copy
from typing import Any, Final

import torch
from torch import Tensor, nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks.parts import make_part, tensor
from pocketcrafter.runtime.components import Role

PROMPT: Final = 32
"""Positions of the language model as it is lowered: a whole prompt; a step is the one that follows."""
_ROTATIONS: Final = "rotary_emb"
MASKED: Final = -256.0
"""Nothing remains of a score so much lower, and 16-bit integers still have fine steps for the others."""


class Past:
    """What transformers' models ask of a cache, over tensors that come in and go out of a graph.

    Its own caches start from empty tensors of one axis, which no exporter joins to others.

    Parameters
    ----------
    keys, values
        ``(layers, heads, positions, width)`` of the positions that were read; nothing where none was.
    """

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None) -> None:
        self._keys, self._values = _layers(keys), _layers(values)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many positions are in it."""
        return self._keys[layer_idx].shape[-2] if self._keys else 0

    def get_mask_sizes(self, cache_position: Tensor, layer_idx: int) -> tuple[int, int]:
        """Return how many positions attention will see, and where they begin."""
        return self.get_seq_length(layer_idx) + cache_position.shape[0], 0

    def update(self, key: Tensor, value: Tensor, layer_idx: int, cache_kwargs: object = None) -> tuple[Tensor, Tensor]:
        """Append a layer's new keys and values, and return all of them."""
        del cache_kwargs
        if layer_idx == len(self._keys):
            self._keys.append(key)
            self._values.append(value)
        else:
            self._keys[layer_idx] = torch.cat([self._keys[layer_idx], key], -2)
            self._values[layer_idx] = torch.cat([self._values[layer_idx], value], -2)
        return self._keys[layer_idx], self._values[layer_idx]

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return keys and values as they are taken by the constructor."""
        return torch.cat(self._keys), torch.cat(self._values)


class _Language(nn.Module):
    """A language model over embeddings of a few positions, the first of which is known.

    Where they are, how that turns them and what each of them sees are constants: worked out in the graph, they would
    take operators over integers and truth values, which Core ML's and QNN's converters refuse.
    """

    def __init__(self, text: nn.Module, head: nn.Module, first: int, count: int) -> None:
        super().__init__()
        positions = torch.arange(first, first + count)
        # A column more than there are positions: transformers cuts it off, and where it would cut off nothing, torch
        # exports an alias, which Core ML's converter refuses.
        ahead = torch.arange(first + count + 1) > positions[:, None]
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("mask", ahead.float()[None, None] * MASKED, persistent=False)
        self.text, self.head = _at(text, positions), head

    def read(self, embeddings: Tensor, past: Past) -> tuple[Tensor, Tensor, Tensor]:
        """Return the last position's logits, and the keys and values of all."""
        states = self.text(
            inputs_embeds=embeddings,
            attention_mask=self.get_buffer("mask"),
            cache_position=self.get_buffer("positions"),
            past_key_values=past,
            use_cache=True,
            return_dict=False,
        )[0]
        return (self.head(states[:, -1]), *past.tensors())


class Prompt(_Language):
    """Reads a whole prompt; returns the logits of the word after it and its cache."""

    def __init__(self, text: nn.Module, head: nn.Module) -> None:
        super().__init__(text, head, 0, PROMPT)

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``(1, PROMPT, width)`` to ``(1, words)`` and the keys and values of all positions."""
        return self.read(embeddings, Past())


class Step(_Language):
    """Reads one position more; returns the next word's logits and the cache with that position in it."""

    def __init__(self, text: nn.Module, head: nn.Module) -> None:
        super().__init__(text, head, PROMPT, 1)

    def forward(self, embedding: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``(1, 1, width)`` and ``(layers, heads, PROMPT, head width)`` to ``(1, words)`` and longer caches."""
        return self.read(embedding, Past(keys, values))


def language_parts(text: nn.Module, head: nn.Module) -> list[Part]:
    """Return the two parts of a transformers language model and its head.

    ``prompt`` takes embeddings in one row of positions and gives the next word's logits and the cache; ``step`` takes
    the next position's embedding with that cache.
    """
    known: Any = text.config
    embeddings = tensor("embeddings", (1, PROMPT, known.hidden_size))
    prompt = make_part("prompt", Prompt(text, head), Role.LANGUAGE, [embeddings], "logits", "keys", "values")
    cache = prompt.spec.outputs[1].shape
    inputs = [tensor("embedding", (1, 1, known.hidden_size)), tensor("keys", cache), tensor("values", cache)]
    return [
        prompt,
        make_part("step", Step(text, head), Role.LANGUAGE, inputs, "logits", "next_keys", "next_values"),
    ]


class _Rotations(nn.Module):
    """Cosines and sines of positions that are known, in place of the module that works them out."""

    def __init__(self, cosines: Tensor, sines: Tensor) -> None:
        super().__init__()
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)

    def forward(self, *_states: Tensor, **_positions: Tensor) -> tuple[Tensor, Tensor]:
        return self.get_buffer("cosines"), self.get_buffer("sines")


def _at(text: nn.Module, positions: Tensor) -> nn.Module:
    """Return the model with its rotations fixed to positions; it shares everything else with the one that is given."""
    seen: list[tuple[Tensor, Tensor]] = []
    known: Any = text.config
    handle = text.get_submodule(_ROTATIONS).register_forward_hook(lambda _module, _inputs, said: seen.append(said))
    try:
        with torch.no_grad():
            text(inputs_embeds=torch.zeros(1, len(positions), known.hidden_size), cache_position=positions)
    finally:
        handle.remove()
    made = copy.copy(text)
    made._modules = {**text._modules, _ROTATIONS: _Rotations(*seen[0])}
    return made


def _layers(cache: Tensor | None) -> list[Tensor]:
    # Slices, not a split: Vulkan's partitioner takes no operator that returns a list.
    return [] if cache is None else [cache[index : index + 1] for index in range(cache.shape[0])]
