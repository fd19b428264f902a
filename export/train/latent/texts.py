"""What the latent studio's critic is to write of a frame, and the tokenizer of that text."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from pocketcrafter.export.models.latent_studio import END, LONGEST_ANSWER, PROMPT, SPECIAL, prompt_text
from pocketcrafter.export.train.prose.compose import Subject, compose, visible
from pocketcrafter.export.train.prose.facts import Colorfulness, Detail, Facts, Light, Palette
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import UNITS, Attribute
from pocketcrafter.runtime.prose.prompt import nearest_step

TOLD: Final = (
    Attribute.EXPOSURE,
    Attribute.TEMPERATURE,
    Attribute.TINT,
    Attribute.CONTRAST,
    Attribute.SATURATION,
    Attribute.DEHAZE,
)
"""What can be seen of a photo as small as the critic's picture; the rest is told as not measured."""
_WORDS: Final = 1024
_TEXTS: Final = 6000
_SCORE_STEP: Final = 5
_LONGEST_WORD: Final = 48
_FACTS: Final = Facts(Light.MIDDLE, Palette.BALANCED, Colorfulness.MODERATE, Detail.SOME)
"""Short critiques say nothing of them."""
_AMOUNTS: Final = r"(?<=[ +\-])[0-9]+(\.[0-9]+)?|(?<=<answer>)[0-9]+"
"""Amounts and scores are words of their own; what stands between them is merged over spaces and lines."""


def critique_text(plan: npt.NDArray[np.float32], score: float) -> str:
    """Return the short critique of a frame.

    Parameters
    ----------
    plan
        Ground truth in plan-vector units, ``(len(Attribute),)``.
    score
        In [0, 1].
    """
    amounts = zip(Attribute, plan.astype(np.float64) * UNITS, strict=True)
    stated = {a: nearest_step(a, float(amount)) if a in TOLD else None for a, amount in amounts}
    rounded = _SCORE_STEP * round(100 * score / _SCORE_STEP)
    return visible(compose(Subject(stated, _FACTS, rounded, Mode.SHORT, voice=0)))


def build_tokenizer(plans: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> Tokenizer:
    """Train byte-level BPE on the critiques of the first frames; whole phrases become words, so that answers are short.

    Parameters
    ----------
    plans, scores
        Of stored frames: ``(N, len(Attribute))`` and ``(N,)``.
    """
    texts = [critique_text(plan, float(score)) for plan, score in zip(plans[:_TEXTS], scores[:_TEXTS], strict=True)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_AMOUNTS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_WORDS,
        special_tokens=[AddedToken(word, normalized=False, special=True) for word in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=_LONGEST_WORD,
        show_progress=False,
    )
    # The prompt's own words, often enough to be merged.
    tokenizer.train_from_iterator([*texts, *["User:", PROMPT, "\nAssistant:"] * (_TEXTS // 10)], trainer)
    return tokenizer


def prompt_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of the prompt, with a place for each token of the picture."""
    ids: list[int] = tokenizer.encode(prompt_text()).ids
    return ids


def answer_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of an answer and its end.

    Raises
    ------
    ConfigError
        If they are more than the pair's longest answer.
    """
    ids: list[int] = tokenizer.encode(text + END).ids
    if len(ids) > LONGEST_ANSWER:
        raise ConfigError(f"A critique takes {len(ids)} words, and answers have {LONGEST_ANSWER} at most.")
    return ids


def padded(sequences: Sequence[Sequence[int]], filler: int) -> npt.NDArray[np.int64]:
    """Return sequences as one array, the shorter ones filled up at their ends."""
    rows = np.full((len(sequences), max(map(len, sequences))), filler, np.int64)
    for row, ids in zip(rows, sequences, strict=True):
        row[: len(ids)] = ids
    return rows
