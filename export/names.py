"""Names that training and building agree on; importing them costs no torch."""

from typing import Final

TOKENIZER: Final = "decoder.tokenizer.json"
"""File of the decoder's words, beside its weights."""

CRITIC_SHA256: Final = "critic_sha256"
TOKENIZER_SHA256: Final = "tokenizer_sha256"
"""What a decoder's weights record: a decoder reads the tokens of one critic and writes the words of one tokenizer."""

HEAD: Final = "head"
"""The module of a language model's output layer, whose rounding decides between words: 8 bits where others have 4."""

QAT_COMPONENTS: Final = ("tone", "restore", "decoder")
"""Networks of the pocket family that can be trained through their rounding; `distill.qat` has a task for each."""

QAT_OF_PAIRS: Final = "denoise"
"""The network of latent pairs that can be."""

ARTIST_METHODS: Final = ("trajectory", "lcm", "dmd2")
"""How a latent pair's artist is taught to run in few steps; `distill.latent.methods` has a task for each."""

UPDATES: Final = {"critic": ("grpo",), "artist": ("direct", "nft")}
"""Networks of a latent pair that are aligned by rewards, and how: `distill.latent.alignment` has a task for each.

A critic by group-relative policy optimization; an artist by the gradient of rewards, or by their values.
"""

REWARDS: Final = ("format", "executed", "photometric", "rank")
"""What an alignment rewards; `distill.latent.rewards` says what each is."""
