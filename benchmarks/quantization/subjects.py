"""What a quantized network is judged by: pictures through the pipeline and critiques by the decoder."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from pocketcrafter.benchmarks.common.names import PICTURES
from pocketcrafter.benchmarks.common.picture_metrics import psnr_db
from pocketcrafter.benchmarks.common.prose import Asked
from pocketcrafter.benchmarks.parity.photos import mean_delta_e, plan_error
from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.export.models.llama import ProseLlama, as_llama
from pocketcrafter.quantize.modules import outputs_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.base import Session, checked_inputs, named_outputs
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
from pocketcrafter.runtime.pipeline import Enhanced, PhotoPipeline
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.prose.grammar import Grammar, State
from pocketcrafter.runtime.prose.prompt import outline, voice_of, worded_prompt
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer

Arrays = Mapping[str, FloatArray]

COMPARED: Final = 64
"""Choices of a critique that are compared; a word that the grammar forces is none."""


class Damage(Config):
    """A quantized network in the whole pipeline, against the pipeline in full precision."""

    delta_e: float | None = Field(None, ge=0, description="Mean CIEDE2000 of the pictures; null for a decoder.")
    delta_e_worst: float | None = Field(None, ge=0, description="Of the worst picture.")
    psnr_db: float | None = Field(None, description="Mean over pictures, data range 255; 100 where equal.")
    plan_error: float | None = Field(None, ge=0, description="Mean absolute error of the gated plan, vector units.")
    disagreement: float | None = Field(
        None, ge=0, le=1, description="Share of a critique's greedy choices that differ, given the same words before."
    )
    sqnr_db: float | None = Field(description="Lowest of the network's outputs; null where all are identical.")

    @property
    def seen(self) -> float:
        """What people notice of it, the lower the better: color difference, or differing words."""
        return self.delta_e if self.delta_e is not None else self.disagreement or 0.0

    @property
    def order(self) -> tuple[float, float]:
        """What damages are sorted by: what is noticed, then the ratio of tensors."""
        return self.seen, -(self.sqnr_db if self.sqnr_db is not None else np.inf)

    @classmethod
    def of_pictures(cls, pictures: Sequence["PictureDamage"], sqnr_db: float | None) -> Self:
        """Return the means over pictures."""
        return cls(
            delta_e=float(np.mean([p.delta_e for p in pictures])),
            delta_e_worst=max(p.delta_e for p in pictures),
            psnr_db=float(np.mean([p.psnr_db for p in pictures])),
            plan_error=float(np.mean([p.plan_error for p in pictures])),
            sqnr_db=sqnr_db,
        )


class PictureDamage(Config):
    """One picture."""

    delta_e: float
    psnr_db: float
    plan_error: float


class RememberedSession:
    """A network in full precision that is run once for each input."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said: dict[bytes, dict[str, FloatArray]] = {}

    def run(self, inputs: Arrays) -> dict[str, FloatArray]:
        """Run, or remember; see `pocketcrafter.runtime.backends.base.Session`."""
        digest = hashlib.blake2b(digest_size=16)
        for name, array in inputs.items():
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        key = digest.digest()
        if key not in self._said:
            self._said[key] = self._session.run(inputs)
        return self._said[key]


class TriedSession:
    """A quantized network beside its reference.

    Parameters
    ----------
    network
        From the inputs in calling order to the outputs.
    component
        Whose contract it keeps.
    reference
        The same in full precision.
    """

    def __init__(self, network: Callable[[tuple[Tensor, ...]], object], component: str, reference: Session) -> None:
        self._network, self._reference = network, reference
        self._spec = POCKET_SPECS[component]
        self._signal = {t.name: 0.0 for t in self._spec.outputs}
        self._noise = dict(self._signal)

    def run(self, inputs: Arrays) -> dict[str, FloatArray]:
        """Run, and note the distance; see `pocketcrafter.runtime.backends.base.Session`."""
        tensors = tuple(torch.from_numpy(np.array(a)) for a in checked_inputs(inputs, self._spec).values())
        with torch.no_grad():
            actual = named_outputs([o.numpy() for o in outputs_of(self._network(tensors))], self._spec)
        for name, expected in self._reference.run(inputs).items():
            self._signal[name] += float(np.square(expected, dtype=np.float64).sum())
            self._noise[name] += float(np.square(expected.astype(np.float64) - actual[name]).sum())
        return actual

    @property
    def sqnr_db(self) -> float | None:
        """Lowest ratio of its outputs over all runs; `None` where all are identical."""
        ratios = [10 * np.log10(max(self._signal[name], 1e-30) / noise) for name, noise in self._noise.items() if noise]
        return float(min(ratios)) if ratios else None


@dataclass(frozen=True)
class Networks:
    """What a pipeline is made of."""

    sessions: Mapping[str, Session]
    gate: GateSettings

    def has(self, component: str) -> bool:
        """Whether the component is there."""
        return component in self.sessions

    def session(self, component: str) -> Session:
        """Return a component."""
        return self.sessions[component]

    def with_tried(self, tried: Mapping[str, Session]) -> "Networks":
        """Return the same pipeline with other networks in their components' place."""
        return Networks({**self.sessions, **tried}, self.gate)


def full_precision(weights: Path, gate: GateSettings, threads: int) -> Networks:
    """Open the networks that a picture goes through.

    Parameters
    ----------
    weights
        Folder of their weights.
    gate
        Which attributes of a plan are carried out.
    threads
        Threads to compute with.
    """
    backend, names = TorchBackend(), (*PICTURES, *((Pocket.JUDGE,) if gate.judge is not None else ()))
    return Networks(
        {c: RememberedSession(backend.open(weights / f"{c}.safetensors", POCKET_SPECS[c], threads)) for c in names},
        gate,
    )


class PictureSubject:
    """Pictures and what full precision makes of them.

    Parameters
    ----------
    networks
        The pipeline in full precision.
    pictures
        sRGB, uint8, ``(H, W, 3)``.
    """

    def __init__(self, networks: Networks, pictures: Sequence[ByteImage]) -> None:
        self.networks = networks
        self._photos = [Photo(p, source_format=PhotoFormat.PNG) for p in pictures]
        self._expected = self._enhanced(networks)

    @property
    def changed(self) -> int:
        """Pictures that full precision changes; the others say nothing of the artist."""
        return sum(
            not np.array_equal(r.photo.pixels, p.pixels) for r, p in zip(self._expected, self._photos, strict=True)
        )

    def nearness_db(self, clean: Sequence[ByteImage], tried: Mapping[str, TriedSession] | None = None) -> float:
        """Return the mean PSNR of the pipeline's pictures against clean ones; in full precision if nothing is tried."""
        actual = self._expected if tried is None else self._enhanced(self.networks.with_tried(tried))
        pairs = zip(actual, clean, strict=True)
        return float(np.mean([psnr_db(np.asarray(s.photo.pixels, np.uint8), c) for s, c in pairs]))

    def damage(self, tried: Mapping[str, TriedSession]) -> Damage:
        """Enhance every picture with quantized networks in their components' place.

        Pictures that neither pipeline changes say nothing of the networks: they are left out of the means.
        """
        actual = self._enhanced(self.networks.with_tried(tried))
        pairs = list(zip(self._expected, actual, self._photos, strict=True))
        changed = [(r, s) for r, s, p in pairs if not all(np.array_equal(e.photo.pixels, p.pixels) for e in (r, s))]
        pictures = [_between(r, s) for r, s in changed or [(r, s) for r, s, _ in pairs]]
        ratios = [ratio for session in tried.values() if (ratio := session.sqnr_db) is not None]
        return Damage.of_pictures(pictures, min(ratios, default=None))

    def _enhanced(self, networks: Networks) -> list[Enhanced]:
        pipeline = PhotoPipeline(networks, threads=1)
        return [pipeline.enhance(photo) for photo in self._photos]


def _between(expected: Enhanced, actual: Enhanced) -> PictureDamage:
    first, second = (np.asarray(e.photo.pixels, np.uint8) for e in (expected, actual))
    return PictureDamage(
        delta_e=mean_delta_e(first, second),
        psnr_db=psnr_db(second, first),
        plan_error=plan_error(expected, actual) or 0.0,
    )


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
        self._expected = [_logits(model, trace) for trace in self._traces]

    @property
    def choices(self) -> int:
        """How many choices are compared."""
        return sum(len(trace.choices) for trace in self._traces)

    def damage(self, decoder: Decoder) -> Damage:
        """Compare another decoder's choices, given the same words before each."""
        model, differ, expected, actual = as_llama(decoder), 0, [], []
        for trace, wanted in zip(self._traces, self._expected, strict=True):
            logits = _logits(model, trace)
            differ += sum(
                int(allowed[np.argmax(logits[place - 1][allowed])]) != trace.ids[place]
                for place, allowed in trace.choices
            )
            expected.append(wanted[trace.prompt - 1 :])
            actual.append(logits[trace.prompt - 1 :])
        ratio = sqnr_db(np.concatenate(expected), np.concatenate(actual))
        return Damage(disagreement=differ / self.choices, sqnr_db=None if np.isinf(ratio) else ratio)


def _logits(model: ProseLlama, trace: Trace) -> FloatArray:
    with torch.no_grad():
        actual: Tensor = model(torch.from_numpy(np.array(trace.tokens)), torch.tensor([trace.ids]))
    logits: FloatArray = actual[0].numpy()
    return logits
