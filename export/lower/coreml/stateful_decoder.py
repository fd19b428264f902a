"""The decoder with its caches inside: several positions a call, for runtimes that keep tensors between calls."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.decoder import HEAD_DIM, HEADS, WIDTH, Block, Decoder, rotated
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.pocket import PROSE_CACHE, PROSE_KEYS, PROSE_LENGTH, PROSE_VALUES

MASKED: Final = -64.0
"""As in the decoder: far below any score."""


class StatefulDecoder(nn.Module):
    """Computes what the decoder does for one or more positions in order, on caches that it keeps as buffers.

    It holds the decoder's own layers, so that programs of it with different numbers of positions have the same weights.

    Parameters
    ----------
    decoder
        Whose layers are used.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        for name in (*PROSE_KEYS, *PROSE_VALUES):
            self.register_buffer(name, torch.zeros(PROSE_CACHE))

    def forward(self, word: Tensor, soft: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take N words or plan tokens and keep their positions; return what the decoder does, for each of them.

        Parameters
        ----------
        word, soft
            One-hot ``(N, PROSE_WORDS)`` and ``(N, TOKEN_DIM)``, as the decoder takes them.
        position
            One-hot ``(N, PROSE_LENGTH)``, ascending. A row of zeros is left out: nothing is kept of it, and what is
            returned for it means nothing.

        Returns
        -------
        tuple
            Logits ``(N, PROSE_WORDS)``; keys and values, ``(PROSE_LAYERS, HEADS, N, HEAD_DIM)``.
        """
        decoder = self.decoder
        rows = word.shape[0]
        x = decoder.word(word) + decoder.soft(soft)
        cosine, sine = (
            torch.mm(position, table).reshape(1, rows, HEAD_DIM // 2) for table in (decoder.cosines, decoder.sines)
        )
        place = torch.mm(position * decoder.index, decoder.twice).reshape(1, rows, 1)
        # One place further than the decoder hides: here a position finds itself in the cache.
        ahead = (decoder.indices - 2.0 - place).clamp(0, 1)
        mask = 1.0 - ahead, ahead * MASKED
        here = position.transpose(0, 1).reshape(1, PROSE_LENGTH, rows)
        places = here, 1.0 - here.sum(2, keepdim=True)
        kept: dict[str, Tensor] = {}
        made: list[Tensor] = []
        for block, *names in zip(decoder.blocks, PROSE_KEYS, PROSE_VALUES, strict=True):
            assert isinstance(block, Block)  # noqa: S101 - a module list forgets what it holds
            x, new, caches = _through(block, x, [self.get_buffer(name) for name in names], (cosine, sine), mask, places)
            made += new
            kept |= zip(names, caches, strict=True)
        # Last but for the copies: coremltools 9.0 breaks (KeyError) where what states become is computed last of all.
        logits: Tensor = decoder.logits(decoder.norm(x))
        keys, values = (
            torch.cat(of_layers).reshape(-1, HEADS, rows, HEAD_DIM) for of_layers in (made[::2], made[1::2])
        )
        for name, cache in kept.items():
            self.get_buffer(name).copy_(cache)
        return logits, keys, values


def _through(
    block: Block,
    x: Tensor,
    caches: Sequence[Tensor],
    rotation: tuple[Tensor, Tensor],
    mask: tuple[Tensor, Tensor],
    places: tuple[Tensor, Tensor],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return what a layer makes of x, of each position's key and value, and of its caches."""
    rows = x.shape[0]
    here, elsewhere = places
    y = block.norm_attention(x)
    query, key, value = (
        layer(y).reshape(rows, HEADS, HEAD_DIM).transpose(0, 1) for layer in (block.query, block.key, block.value)
    )
    new = [rotated(key, *rotation), value]
    # A product with the one-hot positions puts each row in its place; a write by index would be a scatter.
    kept = [cache * elsewhere + torch.matmul(here, row) for cache, row in zip(caches, new, strict=True)]
    scores = torch.matmul(rotated(query, *rotation), kept[0].transpose(1, 2)) * HEAD_DIM**-0.5
    seen = torch.matmul(F.softmax(scores * mask[0] + mask[1], -1), kept[1])
    x = x + block.output(seen.transpose(0, 1).reshape(rows, WIDTH))
    y = block.norm_hidden(x)
    return x + block.down(F.silu(block.gate(y)) * block.up(y)), new, kept


def rehearse(
    decoder: nn.Module, samples: Sequence[Mapping[str, FloatArray]], rows: int
) -> tuple[dict[str, Tensor], int, dict[str, Tensor]]:
    """Make up a prompt and let the decoder take it step by step, from empty caches.

    Parameters
    ----------
    decoder
        One position a call, caches in and their rows out.
    samples
        Where words and plan tokens come from, in order and again from the start.
    rows
        Length of the prompt; the last eighth of it is left out, so that rows of zeros are tried too.

    Returns
    -------
    tuple
        Inputs of all rows together; how many of them are taken; ``logits`` after each of these, and every cache at the
        end.
    """
    steps = rows - rows // 8
    word, soft = (torch.zeros(rows, torch.tensor(samples[0][name]).shape[1]) for name in ("word", "soft"))
    position = torch.eye(rows, PROSE_LENGTH)
    position[steps:] = 0
    caches = {name: torch.zeros(PROSE_CACHE) for name in (*PROSE_KEYS, *PROSE_VALUES)}
    logits = []
    with torch.no_grad():
        for row in range(steps):
            sample = samples[row % len(samples)]
            word[row], soft[row] = (torch.tensor(sample[name][0]) for name in ("word", "soft"))
            here = slice(row, row + 1)
            said, keys, values = decoder(word[here], soft[here], position[here], *caches.values())
            for cache, new in zip(caches.values(), (*keys, *values), strict=True):
                cache[:, here] = new
            logits.append(said)
    return {"word": word, "soft": soft, "position": position}, steps, {"logits": torch.cat(logits), **caches}
