"""The critic's decoder as it is lowered: one step of a small Llama as one static graph, with no gather in it.

What changes from step to step comes in as tensors: the word and its position as one-hot vectors, the caches as they
were. A position's rotation and mask are constants that the one-hot position picks by multiplication. Caches only come
in: what goes out is this position's rows, a thousandth of them, which the caller writes into its memory.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.runtime.pocket import PROSE_CACHE, PROSE_LAYERS, PROSE_LENGTH, PROSE_WORDS, TOKEN_DIM

HEADS, _, HEAD_DIM = PROSE_CACHE
WIDTH: Final = HEADS * HEAD_DIM
HIDDEN: Final = 512
ROPE_BASE: Final = 10_000.0
NORM_EPSILON: Final = 1e-5
_SCALE: Final = HEAD_DIM**-0.5
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
        self.blocks = nn.ModuleList(Block() for _ in range(PROSE_LAYERS))
        self.norm = RmsNorm()
        self.logits = nn.Linear(WIDTH, PROSE_WORDS, bias=False)
        cosines, sines = rotations()
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        indices = torch.arange(PROSE_LENGTH, dtype=torch.float32)
        self.register_buffer("twice", torch.full((PROSE_LENGTH, 1), 2.0), persistent=False)
        self.register_buffer("index", indices.reshape(1, PROSE_LENGTH), persistent=False)
        self.register_buffer("indices", 2 * indices.reshape(1, 1, PROSE_LENGTH) + 1.5, persistent=False)

    def forward(self, word: Tensor, soft: Tensor, position: Tensor, *caches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take one word or plan token; return the next word's logits and what this position adds to the caches.

        Parameters
        ----------
        word
            One-hot, ``(1, PROSE_WORDS)``; zeros for a plan token.
        soft
            A plan token of the critic, ``(1, TOKEN_DIM)``; zeros for a word.
        position
            One-hot, ``(1, PROSE_LENGTH)``.
        caches
            The key cache of each layer, then the value cache of each, `PROSE_CACHE`. Only what lies before the position
            is read.

        Returns
        -------
        tuple
            Logits ``(1, PROSE_WORDS)``; keys and values of this position, ``(PROSE_LAYERS, HEADS, 1, HEAD_DIM)``.
        """
        x = self.word(word) + self.soft(soft)
        cosine, sine = (torch.mm(position, table).reshape(1, 1, HEAD_DIM // 2) for table in (self.cosines, self.sines))
        # 1 from this position on: a table of the mask would be a quarter of the model, and a product with the numbers
        # as weights would make INT8 of them. Twice the way, a half beside it: rounding flips none.
        place = torch.mm(position * self.index, self.twice).reshape(1, 1, 1)
        hidden = (self.indices - place).clamp(0, 1)
        # Both: what is added alone would have to outweigh whatever an earlier critique left in the caches.
        # Scores are scaled here too: ONNX Runtime has no fast kernel for one row times a matrix times a number.
        seen = (1.0 - hidden) * _SCALE, hidden * _MASKED
        keys, values = [], []
        for block, *old in zip(self.blocks, caches[:PROSE_LAYERS], caches[PROSE_LAYERS:], strict=True):
            x, key, value = block(x, *old, (cosine, sine), seen)
            keys.append(key.reshape(1, HEADS, 1, HEAD_DIM))
            values.append(value.reshape(1, HEADS, 1, HEAD_DIM))
        return self.logits(self.norm(x)), torch.cat(keys), torch.cat(values)


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
        self, x: Tensor, keys: Tensor, values: Tensor, rotation: tuple[Tensor, Tensor], seen: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``(1, WIDTH)`` to itself; return the position's key and value, ``(HEADS, 1, HEAD_DIM)``, beside it.

        Parameters
        ----------
        x
            What the layer before made.
        keys, values
            The layer's caches, `PROSE_CACHE`.
        rotation
            Cosine and sine of the position, ``(1, 1, HEAD_DIM / 2)``.
        seen
            What the scores of the cached positions are multiplied by, and what is added, ``(1, 1, PROSE_LENGTH)``.
        """
        y = self.norm_attention(x)
        query, key, value = (layer(y).reshape(HEADS, 1, HEAD_DIM) for layer in (self.query, self.key, self.value))
        query, key = rotated(query, *rotation), rotated(key, *rotation)
        # bmm, not matmul: that would expand its operands, which XNNPACK leaves outside.
        cached = torch.bmm(query, keys.transpose(1, 2)) * seen[0] + seen[1]
        own = torch.bmm(query, key.reshape(HEADS, HEAD_DIM, 1)) * _SCALE
        shares = F.softmax(torch.cat([cached, own], 2), 2)
        mixed = torch.bmm(shares[:, :, :PROSE_LENGTH], values) + shares[:, :, PROSE_LENGTH:] * value
        x = x + self.output(mixed.reshape(1, WIDTH))
        y = self.norm_hidden(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y)), key, value


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


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate ``(HEADS, N, HEAD_DIM)`` by ``(1, N, HEAD_DIM / 2)``.

    Parameters
    ----------
    x
        Queries or keys, (HEADS, N, HEAD_DIM).
    cosine, sine
        Of the positions, (1, N, HEAD_DIM / 2).
    """
    half = HEAD_DIM // 2
    first, second = x[:, :, :half], x[:, :, half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], 2)
