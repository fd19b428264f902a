"""The shipped vocabulary, and decoders that say whatever a seed makes them say."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import pocketcrafter
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.pocket import PROSE_ROWS, PROSE_WORDS
from pocketcrafter.runtime.prose.tokenizer import Words

TOKENIZER = Path(pocketcrafter.__file__).parent / "export/weights/decoder.tokenizer.json"


class Babbler:
    """A decoder without sense: random logits, and one word that it wants most of all."""

    def __init__(self, seed: int, darling: int | None) -> None:
        self.rng, self.darling, self.positions = np.random.default_rng(seed), darling, list[int]()

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        self.positions.append(int(inputs["position"].argmax()))
        logits = self.rng.random((1, PROSE_WORDS), np.float32)
        if self.darling is not None:
            logits[0, self.darling] = 100
        rows = np.zeros(PROSE_ROWS, np.float32)
        return {"logits": logits, "key": rows, "value": rows}


@pytest.fixture(scope="session")
def words() -> Words:
    return Words.read(TOKENIZER)


@pytest.fixture(scope="session")
def tokenizer_file() -> Path:
    return TOKENIZER


@pytest.fixture(scope="session")
def babbler() -> Callable[[int, int | None], Session]:
    return Babbler
