"""The critic's decoder as it is lowered: one step of a small Llama as one static graph, with no gather in it.

What changes from step to step comes in as tensors: the word and its position as one-hot vectors, the caches as they
were. A position's rotation and mask are constants that the one-hot position picks by multiplication.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.runtime.components import PROSE_CACHE, PROSE_LENGTH, PROSE_WORDS, TOKEN_DIM

LAYERS, HEADS, _, HEAD_DIM = PROSE_CACHE
WIDTH: Final = HEADS * HEAD_DIM
HIDDEN: Final = 512
ROPE_BASE: Final = 10_000.0
NORM_EPSILON: Final = 1e-5
_MASKED: Final = -64.0
"""Far below any score: less than float32 can tell remains of it. And no further: in 16-bit integers it would set the
step of all scores."""


class Decoder(nn.Module):
    """One step of the decoder: RMSNorm, rotary positions, causal attention over the caches, SwiGLU (Llama, 2023)."""

    cosines: Tensor
    sines: Tensor
    twice: Tensor
    index: Tensor
    indices: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Linear(PROSE_WORDS, WIDTH, bias=False)
        self.soft = nn.Linear(TOKEN_DIM, WIDTH, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = RmsNorm()
        self.logits = nn.Linear(WIDTH, PROSE_WORDS, bias=False)
        cosines, sines = rotations()
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        indices = torch.arange(PROSE_LENGTH, dtype=torch.float32)
        self.register_buffer("twice", torch.full((PROSE_LENGTH, 1), 2.0), persistent=False)
        self.register_buffer("index", indices.reshape(1, PROSE_LENGTH), persistent=False)
        self.register_buffer("indices", 2 * indices.reshape(1, 1, PROSE_LENGTH) - 0.5, persistent=False)

    def forward(
        self, word: Tensor, soft: Tensor, position: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take one word or plan token; return the next word's logits and the caches with this position in them.

        Parameters
        ----------
        word
            One-hot, ``(1, PROSE_WORDS)``; zeros for a plan token.
        soft
            A plan token of the critic, ``(1, TOKEN_DIM)``; zeros for a word.
        position
            One-hot, ``(1, PROSE_LENGTH)``.
        keys, values
            `PROSE_CACHE`: what earlier steps returned, zeros at first.
        """
        x = self.word(word) + self.soft(soft)
        cosine, sine = (torch.mm(position, table).reshape(1, 1, HEAD_DIM // 2) for table in (self.cosines, self.sines))
        # How far each position lies ahead of this one: a table of the mask would be a quarter of the model, and a
        # product with the numbers as weights would make INT8 of them. Twice the way, less a half: rounding flips none.
        place = torch.mm(position * self.index, self.twice).reshape(1, 1, 1)
        ahead = (self.indices - place).clamp(0, 1)
        # Both: what is added alone would have to outweigh whatever an earlier critique left in the caches.
        behind, mask = 1.0 - ahead, ahead * _MASKED
        here = position.reshape(1, PROSE_LENGTH, 1)
        # A whole 1 would be cast while it runs, outside XNNPACK, and cut the graph in two.
        elsewhere = 1.0 - here
        new_keys, new_values = [], []
        for index, block in enumerate(self.blocks):
            old = (cache[index : index + 1].reshape(PROSE_CACHE[1:]) for cache in (keys, values))
            x, key, value = block(x, *old, cosine, sine, behind, mask, here, elsewhere)
            new_keys.append(key.reshape(1, *PROSE_CACHE[1:]))
            new_values.append(value.reshape(1, *PROSE_CACHE[1:]))
        return self.logits(self.norm(x)), torch.cat(new_keys), torch.cat(new_values)


class Block(nn.Module):
    """One layer of the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_attention = RmsNorm()
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.norm_hidden = RmsNorm()
        self.gate, self.up = (nn.Linear(WIDTH, HIDDEN, bias=False) for _ in range(2))
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        cosine: Tensor,
        sine: Tensor,
        behind: Tensor,
        mask: Tensor,
        here: Tensor,
        elsewhere: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``(1, WIDTH)`` to itself, and caches ``(HEADS, PROSE_LENGTH, HEAD_DIM)`` to those with this position."""
        y = self.norm_attention(x)
        query, key, value = (layer(y).reshape(HEADS, 1, HEAD_DIM) for layer in (self.query, self.key, self.value))
        keys = keys * elsewhere + _rotated(key, cosine, sine) * here
        values = values * elsewhere + value * here
        # bmm, not matmul: that would expand its operands, which XNNPACK leaves outside.
        scores = torch.bmm(_rotated(query, cosine, sine), keys.transpose(1, 2)) * HEAD_DIM**-0.5
        seen = torch.bmm(F.softmax(scores * behind + mask, -1), values)
        x = x + self.output(seen.reshape(1, WIDTH))
        y = self.norm_hidden(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y)), keys, values


class RmsNorm(nn.Module):
    """Divides by the root of the mean square over channels.

    The mean is a product: with 16-bit integers a Hexagon processor (QNN 2.49, emulated) makes 0 of the spatial one.
    """

    shares: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))
        self.register_buffer("shares", torch.full((WIDTH, 1), 1 / WIDTH), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``(1, WIDTH)``."""
        # The epsilon goes in before: coremltools 9.0 takes a scalar behind a product for a bias, and breaks.
        return x / torch.mm(x * x + NORM_EPSILON, self.shares).sqrt() * self.weight


def rotations() -> tuple[Tensor, Tensor]:
    """Return cosines and sines of every position's rotation, ``(PROSE_LENGTH, HEAD_DIM / 2)`` (Su et al., 2021)."""
    frequencies = ROPE_BASE ** -(torch.arange(0, HEAD_DIM, 2, dtype=torch.float64) / HEAD_DIM)
    angles = torch.arange(PROSE_LENGTH, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().float(), angles.sin().float()


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    half = HEAD_DIM // 2
    first, second = x[:, :, :half], x[:, :, half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], 2)
