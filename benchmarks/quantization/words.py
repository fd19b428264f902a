"""Critiques that the decoder writes in full precision, and how many of its choices another one makes too.

All positions of a critique are computed at once, by the model over whole critiques that has the same weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pocketcrafter.benchmarks.prose.greedy import Asked
from pocketcrafter.benchmarks.quantization.damage import Damage
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.export.models.llama import ProseLlama, as_llama
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.prose.grammar import Grammar, State
from pocketcrafter.runtime.prose.prompt import outline, voice_of, worded_prompt
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer

COMPARED: Final = 64
"""Choices of a critique that are compared; a word that the grammar forces is none."""


@dataclass(frozen=True)
class Trace:
    """A critique as full precision wrote it.

    Attributes
    ----------
    tokens
        The critic's plan tokens.
    ids
        Prompt and critique.
    prompt
        Words of the prompt.
    choices
        For each compared choice its place in ``ids`` and the words that the grammar allows there.
    """

    tokens: FloatArray
    ids: tuple[int, ...]
    prompt: int
    choices: tuple[tuple[int, npt.NDArray[np.int64]], ...]


def traced(asked: Asked, writer: Writer, words: Words) -> Trace:
    """Write a critique and note its choices.

    Parameters
    ----------
    asked
        What the decoder is asked to write.
    writer
        Writes it in full precision.
    words
        The decoder's vocabulary.
    """
    written = writer.write(asked.tokens, asked.plan, asked.score, asked.mode)
    voice = voice_of(asked.plan, asked.score)
    prompt = words.numbers(worded_prompt(asked.plan, asked.score, asked.mode, voice))
    grammar = Grammar(words, outline(asked.plan, asked.score, asked.mode, voice), asked.score)
    state, choices = State(), list[tuple[int, npt.NDArray[np.int64]]]()
    for place, word in enumerate(written.ids, start=len(prompt)):
        if grammar.ending(state) is not None or len(choices) == COMPARED:
            break
        allowed = grammar.allowed(state)
        if len(allowed) > 1:
            choices.append((place, allowed))
        state = grammar.advance(state, word)
    return Trace(asked.tokens, (*prompt, *written.ids), len(prompt), tuple(choices))


class WordsSubject:
    """Critiques and the logits behind them.

    Parameters
    ----------
    decoder
        In full precision.
    traces
        What it wrote.
    """

    def __init__(self, decoder: Decoder, traces: Iterable[Trace]) -> None:
        self._traces = list(traces)
        model = as_llama(decoder)
        self._right = [_logits(model, trace) for trace in self._traces]

    @property
    def choices(self) -> int:
        """How many choices are compared."""
        return sum(len(trace.choices) for trace in self._traces)

    def damage(self, decoder: Decoder) -> Damage:
        """Compare another decoder's choices, given the same words before each."""
        model, differ, right, said = as_llama(decoder), 0, [], []
        for trace, wanted in zip(self._traces, self._right, strict=True):
            logits = _logits(model, trace)
            differ += sum(
                int(allowed[np.argmax(logits[place - 1][allowed])]) != trace.ids[place]
                for place, allowed in trace.choices
            )
            right.append(wanted[trace.prompt - 1 :])
            said.append(logits[trace.prompt - 1 :])
        ratio = sqnr_db(np.concatenate(right), np.concatenate(said))
        return Damage(disagreement=differ / self.choices, sqnr_db=None if np.isinf(ratio) else ratio)


def _logits(model: ProseLlama, trace: Trace) -> FloatArray:
    with torch.no_grad():
        said: Tensor = model(torch.from_numpy(np.array(trace.tokens)), torch.tensor([trace.ids]))
    logits: FloatArray = said[0].numpy()
    return logits
