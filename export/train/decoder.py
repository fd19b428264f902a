"""Training the decoder and its tokenizer on critiques composed on the fly from the plan in their prompt."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.llama import ProseLlama, as_decoder
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.prose.compose import Subject, compose
from pocketcrafter.export.train.prose.sampling import Judged, draw_subject, random_subject
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.pocket import PROSE_LENGTH, PROSE_WORDS, TOKENS
from pocketcrafter.runtime.prose.prompt import PROMPT_LENGTH, PROMPT_WORDS, worded_prompt
from pocketcrafter.runtime.prose.tokenizer import SPECIAL_WORDS, Mark

_IGNORED: Final = -100
_POOL: Final = 4
"""Batches drawn at a time; one of them is taken, of critiques of about one length, so that little is padded."""
_SPECIAL: Final = re.compile("|".join(map(re.escape, SPECIAL_WORDS)))
_TEXTS: Final = 3000
_LETTERS: Final = [chr(code) for code in range(33, 127)] + ["Ġ"]
"""Printable ASCII, the space as byte-level BPE spells it: all that composed text is made of."""


class DecoderTask:
    """Learns to continue a prompt with the critique composed from it; the critic is fixed.

    Parameters
    ----------
    model
        The decoder over whole critiques.
    judged
        Frames as the critic sees them, with their facts.
    tokenizer
        Whose first words are `SPECIAL_WORDS`.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.

    Raises
    ------
    ConfigError
        If the tokenizer's special words are another version's.
    """

    def __init__(
        self, model: ProseLlama, judged: Judged, tokenizer: Tokenizer, settings: FitSettings, device: torch.device
    ) -> None:
        if any(tokenizer.token_to_id(word) != index for index, word in enumerate(SPECIAL_WORDS)):
            raise ConfigError(
                "The tokenizer's special words are not this version's: remove it to have it trained again."
            )
        self.judged, self.tokenizer, self.settings, self.device = judged, tokenizer, settings, device
        self.model = model.to(device)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the mean loss of a batch's text words, and for the log its perplexity."""
        rng = np.random.default_rng([self.settings.seed, step])
        rows = rng.integers(len(self.judged), size=_POOL * self.settings.batch)
        pool = [(encode(self.tokenizer, draw_subject(self.judged, int(row), rng)), int(row)) for row in rows]
        start = int(rng.integers(_POOL)) * self.settings.batch
        batch = sorted(pool, key=lambda pair: len(pair[0]))[start : start + self.settings.batch]
        loss = batch_loss(self.model, self.judged, batch, self.device)
        return loss, {"loss": float(loss.detach()), "perplexity": float(loss.detach().exp())}


def batch_loss(
    model: ProseLlama, judged: Judged, batch: Sequence[tuple[Sequence[int], int]], device: torch.device
) -> Tensor:
    """Return the mean negative log-likelihood of the text words of critiques.

    Parameters
    ----------
    model, judged, device
        What tells, what it is told of, and where it computes.
    batch
        The ids of prompt and critique, as `encode` gives them, and the frame they are about.
    """
    words = torch.zeros((len(batch), max(len(ids) for ids, _ in batch)), dtype=torch.int64)
    wanted = torch.full_like(words, _IGNORED)
    for index, (ids, _) in enumerate(batch):
        words[index, : len(ids)] = torch.tensor(ids)
        wanted[index, PROMPT_LENGTH - 1 : len(ids) - 1] = torch.tensor(ids[PROMPT_LENGTH:])
    # Hidden words are given by the outline, never chosen.
    wanted[(wanted >= len(Mark)) & (wanted < len(Mark) + len(PROMPT_WORDS))] = _IGNORED
    tokens = torch.from_numpy(judged.tokens[[row for _, row in batch]])
    logits = model(tokens.to(device), words.to(device))
    return F.cross_entropy(logits.float().flatten(0, 1), wanted.to(device).flatten(), ignore_index=_IGNORED)


def as_step(trained: nn.Module) -> nn.Module:
    """Return the step module of a trained model, whose weights are what is kept.

    Raises
    ------
    TypeError
        If the model is not a `ProseLlama`.
    """
    if not isinstance(trained, ProseLlama):
        raise TypeError(type(trained))
    return as_decoder(trained)


def encode(tokenizer: Tokenizer, subject: Subject) -> list[int]:
    """Return the ids of a prompt and its critique.

    Raises
    ------
    ConfigError
        If they are more than the decoder has positions for, or a prompt word is not in the tokenizer.
    """
    prompt = [
        tokenizer.token_to_id(word) for word in worded_prompt(subject.plan, subject.score, subject.mode, subject.voice)
    ]
    ids = [*prompt, *tokenizer.encode(compose(subject)).ids]
    if None in prompt or len(ids) + TOKENS > PROSE_LENGTH:
        raise ConfigError(
            f"A critique takes {len(ids)} words with its prompt ({prompt.count(None)} of them unknown); there are "
            f"{PROSE_LENGTH - TOKENS} positions. Remove the tokenizer to have it trained again."
        )
    return ids


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
