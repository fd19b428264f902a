"""The decoder with its caches inside: several positions a call, for runtimes that keep tensors between calls."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.decoder import HEAD_DIM, HEADS, WIDTH, Block, Decoder
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import PROSE_CACHE, PROSE_LENGTH

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

    keys: Tensor
    values: Tensor

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(PROSE_CACHE))

    def forward(self, word: Tensor, soft: Tensor, position: Tensor) -> Tensor:
        """Take N words or plan tokens; return the logits after each, ``(N, PROSE_WORDS)``, and keep their positions.

        Parameters
        ----------
        word, soft
            One-hot ``(N, PROSE_WORDS)`` and ``(N, TOKEN_DIM)``, as the decoder takes them.
        position
            One-hot ``(N, PROSE_LENGTH)``, ascending. A row of zeros is left out: nothing is kept of it, and its logits
            mean nothing.
        """
        decoder = self.decoder
        rows = word.shape[0]
        x = decoder.word(word) + decoder.soft(soft)
        rotation = [
            torch.mm(position, table).reshape(1, rows, HEAD_DIM // 2) for table in (decoder.cosines, decoder.sines)
        ]
        place = torch.mm(position * decoder.index, decoder.twice).reshape(1, rows, 1)
        ahead = (decoder.indices - place).clamp(0, 1)
        mask = 1.0 - ahead, ahead * MASKED
        here = position.transpose(0, 1).reshape(1, PROSE_LENGTH, rows)
        elsewhere = 1.0 - here.sum(2, keepdim=True)
        keys, values = [], []
        for index, block in enumerate(decoder.blocks):
            assert isinstance(block, Block)  # noqa: S101 - a module list forgets what it holds
            old = self.keys[index].reshape(PROSE_CACHE[1:]), self.values[index].reshape(PROSE_CACHE[1:])
            x, key, value = _through(block, x, old, rotation, mask, here, elsewhere)
            keys.append(key.reshape(1, *PROSE_CACHE[1:]))
            values.append(value.reshape(1, *PROSE_CACHE[1:]))
        # Before the logits: coremltools 9.0 breaks (KeyError) where what two states become is computed last of all.
        new_keys, new_values = torch.cat(keys), torch.cat(values)
        logits: Tensor = decoder.logits(decoder.norm(x))
        self.keys.copy_(new_keys)
        self.values.copy_(new_values)
        return logits


def _through(
    block: Block,
    x: Tensor,
    caches: tuple[Tensor, Tensor],
    rotation: list[Tensor],
    mask: tuple[Tensor, Tensor],
    here: Tensor,
    elsewhere: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    rows = x.shape[0]
    y = block.norm_attention(x)
    query, key, value = (
        layer(y).reshape(rows, HEADS, HEAD_DIM).transpose(0, 1) for layer in (block.query, block.key, block.value)
    )
    # A product with the one-hot positions puts each row in its place; a write by index would be a scatter.
    keys = caches[0] * elsewhere + torch.matmul(here, _rotated(key, rotation))
    values = caches[1] * elsewhere + torch.matmul(here, value)
    scores = torch.matmul(_rotated(query, rotation), keys.transpose(1, 2)) * HEAD_DIM**-0.5
    seen = torch.matmul(F.softmax(scores * mask[0] + mask[1], -1), values)
    x = x + block.output(seen.transpose(0, 1).reshape(rows, WIDTH))
    y = block.norm_hidden(x)
    return x + block.down(F.silu(block.gate(y)) * block.up(y)), keys, values


def _rotated(x: Tensor, rotation: list[Tensor]) -> Tensor:
    cosine, sine = rotation
    first, second = x.chunk(2, 2)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], 2)


def rehearse(
    decoder: nn.Module, samples: Sequence[Mapping[str, FloatArray]], rows: int
) -> tuple[dict[str, Tensor], int, dict[str, Tensor]]:
    """Make up a prompt and let the decoder take it step by step, from empty caches.

    Parameters
    ----------
    decoder
        One position a call, caches in and out.
    samples
        Where words and plan tokens come from, in order and again from the start.
    rows
        Length of the prompt; the last eighth of it is left out, so that rows of zeros are tried too.

    Returns
    -------
    tuple
        Inputs of all rows together; how many of them are taken; ``logits`` after each of these, and ``keys`` and
        ``values`` at the end.
    """
    steps = rows - rows // 8
    word, soft = (torch.zeros(rows, torch.tensor(samples[0][name]).shape[1]) for name in ("word", "soft"))
    position = torch.eye(rows, PROSE_LENGTH)
    position[steps:] = 0
    kept: list[Tensor] = [torch.zeros(PROSE_CACHE), torch.zeros(PROSE_CACHE)]
    logits = []
    with torch.no_grad():
        for row in range(steps):
            sample = samples[row % len(samples)]
            word[row], soft[row] = (torch.tensor(sample[name][0]) for name in ("word", "soft"))
            here = slice(row, row + 1)
            said, *kept = decoder(word[here], soft[here], position[here], *kept)
            logits.append(said)
    expected = {"logits": torch.cat(logits), "keys": kept[0], "values": kept[1]}
    return {"word": word, "soft": soft, "position": position}, steps, expected
