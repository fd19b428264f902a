"""The decoder's tokenizer: byte-level BPE trained on composed critiques, with the special words in front."""

import re
from pathlib import Path
from typing import Final

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from pocketcrafter.export.train.prose.compose import compose
from pocketcrafter.export.train.prose.sampling import random_subject
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.pocket import PROSE_WORDS
from pocketcrafter.runtime.prose.tokenizer import SPECIAL_WORDS

_SPECIAL: Final = re.compile("|".join(map(re.escape, SPECIAL_WORDS)))
_TEXTS: Final = 3000
_LETTERS: Final = [chr(code) for code in range(33, 127)] + ["Ġ"]
"""Printable ASCII, the space as byte-level BPE spells it: all that composed text is made of."""


def build_tokenizer(path: Path) -> Tokenizer:
    """Train the tokenizer on composed critiques and write it; it depends on nothing else."""
    rng = np.random.default_rng(0)
    texts = [_SPECIAL.sub("\n", compose(random_subject(rng))) for _ in range(_TEXTS)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PROSE_WORDS,
        special_tokens=[AddedToken(word, normalized=False, special=True) for word in SPECIAL_WORDS],
        initial_alphabet=_LETTERS,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    write_text(path, tokenizer.to_str(pretty=True))
    return tokenizer
