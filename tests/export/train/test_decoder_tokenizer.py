"""The shipped vocabulary is the one that the composed text gives, and it fits that text."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.export.train.decoder import build_tokenizer, encode
from pocketcrafter.export.train.prose.compose import compose, visible
from pocketcrafter.export.train.prose.sampling import random_subject
from pocketcrafter.runtime.pocket import PROSE_LENGTH, TOKENS
from pocketcrafter.runtime.prose.prompt import PROMPT_LENGTH
from pocketcrafter.runtime.prose.tokenizer import Words


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(WEIGHTS / TOKENIZER))


def test_the_shipped_file_is_what_training_makes(tmp_path: Path) -> None:
    """Ids are baked into the weights: text that changed asks for a new vocabulary and for new weights."""
    build_tokenizer(tmp_path / TOKENIZER)
    assert (tmp_path / TOKENIZER).read_bytes() == (WEIGHTS / TOKENIZER).read_bytes()


def test_critiques_survive_the_vocabulary_and_fit_the_decoder(tokenizer: Tokenizer) -> None:
    words, rng = Words.read(WEIGHTS / TOKENIZER), np.random.default_rng(9)
    longest = 0
    for _ in range(500):
        subject = random_subject(rng)
        ids = encode(tokenizer, subject)
        assert words.text(ids[PROMPT_LENGTH:]) == visible(compose(subject))
        longest = max(longest, len(ids))
    assert longest + TOKENS < PROSE_LENGTH
