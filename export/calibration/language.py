"""Samples of a language component's functions, as they come while a text is read: caches filled by the model itself."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Final

import numpy as np
from torch import Tensor

from pocketcrafter.export.lower.measure import run_torch
from pocketcrafter.export.lower.request import Sample
from pocketcrafter.export.models.language import Language
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.quantize.calibration import held_back
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.language import PREFILL, Rotary, Text

_CHUNKS: Final = 2
"""Chunks that are read before a step; the last of them is the sample of `prefill`."""


class TorchFunction:
    """A function of a language model in torch, in full precision."""

    def __init__(self, model: Language, spec: ComponentSpec) -> None:
        self._model, self._spec = model, spec

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See `pocketcrafter.runtime.backends.base.Session`."""
        return run_torch(self._model, [inputs], self._spec)[0]


class _Recording(TorchFunction):
    """Keeps the arguments of its last call."""

    last: Sample

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        self.last = {name: array.copy() for name, array in inputs.items()}
        return super().run(inputs)


def rotary_of(model: Language) -> Rotary:
    """Return the rotations of a language model."""
    return Rotary(model.frequencies.numpy(), model.rotation_scale, model.sections, model.interleaved)


def language_samples(
    model: Language,
    table: Tensor,
    spec: ComponentSpec,
    count: int,
    seed: int,
    collector: HessianCollector | None = None,
) -> dict[str | None, list[Sample]]:
    """Draw samples of both functions while the model reads texts that it has written itself.

    No text comes with a checkpoint. Behind a random word the model's own choices, drawn as likely as it holds them, are
    words as it will meet them (LLM-QAT: Liu et al., ACL Findings 2024).

    Parameters
    ----------
    model, spec
        The language model and its contract.
    table
        Vectors of its words, ``(vocabulary, width)``.
    count, seed
        How many texts are read; the same seed draws the same ones.
    collector
        Watches the model while it writes all texts but those that are held back to measure with.

    Returns
    -------
    dict
        By function, `None` for a step, one sample of each text.

    Raises
    ------
    ConfigError
        If the caches hold no two chunks and a step.
    """
    prefill, step = spec.of(PREFILL), spec.of(None)
    length = _CHUNKS * prefill.inputs[0].shape[0] + 1
    if length > (holds := step.inputs[4].shape[2]):
        raise ConfigError(f"The language model's caches hold {holds} positions; samples take {length}.")
    generator = np.random.default_rng(seed)
    made: dict[str | None, list[Sample]] = {None: [], PREFILL: []}
    calibrating = count - held_back(count)
    for index in range(count):
        watching = nullcontext() if collector is None or index >= calibrating else collector.attached(model)
        with watching:
            vectors = _written(model, table, spec, length, generator)
        functions = _Recording(model, step), _Recording(model, prefill)
        text = Text(*functions, spec, rotary_of(model))
        text.read(vectors[:-1])
        text.read(vectors[-1:])
        made[None].append(functions[0].last)
        made[PREFILL].append(functions[1].last)
    return made


def _written(
    model: Language, table: Tensor, spec: ComponentSpec, length: int, generator: np.random.Generator
) -> FloatArray:
    """Return the vectors of a text that the model writes, ``(length, width)``."""
    text = Text(TorchFunction(model, spec.of(None)), TorchFunction(model, spec.of(PREFILL)), spec, rotary_of(model))
    word, vectors = int(generator.integers(0, table.shape[0])), list[FloatArray]()
    for _ in range(length):
        vectors.append(table[word].detach().float().numpy())
        logits = text.read(vectors[-1][None]).logits.astype(np.float64)
        chances = np.exp(logits - logits.max())
        word = int(generator.choice(len(chances), p=chances / chances.sum()))
    return np.stack(vectors)
