"""Perplexity, agreement of greedy choices, and speed of a bundle's language model beside its checkpoint's."""

import importlib
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from tokenizers import Tokenizer

from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.language.answers import Agreement, Read, compare_answers, library_answers
from pocketcrafter.export.calibration.language import rotary_of
from pocketcrafter.export.families.networks.folder import load_folder
from pocketcrafter.export.families.networks.language import LanguagePart
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.embedding import TABLE, EmbeddingTable
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.language import PREFILL, Rotary, Text
from pocketcrafter.runtime.validation import check_json

LANGUAGE: Final = "language"
TEXT: Final = Path(__file__).parent / "text.txt"
"""The pipeline's own prose, under its own licence."""
_PROMPT: Final = 128
_DECODED: Final = 32
_PEER_SECONDS: Final = 600
_OWN: Final = "pocketcrafter.benchmarks.language.speed"


class Speed(Config):
    """Tokens for each second of processor time on one thread, after one pass that is not measured."""

    prefill: float = Field(gt=0, description="Of a prompt of 128 tokens.")
    decode: float = Field(gt=0, description="One after the other, behind that prompt.")
    peak_mib: float = Field(gt=0, description="Most resident memory of the process.")


class Likelihood(Config):
    """How a language model reads the fixed text."""

    perplexity: float
    agreement: float = Field(ge=0, le=1, description="Share of places where it would write what the checkpoint would.")


class LanguageFigures(Config):
    """One bundle's language model, its checkpoint, and peers."""

    tokens: int
    checkpoint: Likelihood
    bundles: dict[str, Likelihood]
    answers: dict[str, Agreement] = Field(description="Of bundles, beside the checkpoint's own greedy answers.")
    speeds: dict[str, Speed]


class Reader:
    """A bundle's language model, opened on one thread.

    Parameters
    ----------
    bundle
        With a component `language`.
    target
        Which artifact.
    rotary
        The checkpoint's rotations.

    Raises
    ------
    ConfigError
        If the bundle has no language model of two functions.
    """

    def __init__(self, bundle: Path, target: str, rotary: Rotary) -> None:
        opened = Bundle.open(bundle)
        names, files = ({c.spec.name for c in opened.manifest.components}, {f.path for f in opened.manifest.files})
        if LANGUAGE not in names or TABLE not in files:
            raise ConfigError(f"{bundle}: has no language model with a table of words; build one of a checkpoint.")
        self._sessions = [opened.target_session(LANGUAGE, 1, target, function) for function in (None, PREFILL)]
        self._spec = opened.manifest.entry(LANGUAGE).spec
        self._table, self._rotary = EmbeddingTable.open(opened.file(TABLE)), rotary

    def begin(self) -> Read:
        """Open an empty text; what is returned reads words and returns the logits of the next, ``(vocabulary,)``."""
        step, prefill = self._sessions
        text = Text(step, prefill, self._spec, self._rotary)
        return lambda ids: text.read(self._table.rows(ids)).logits

    def logits(self, ids: Sequence[int], progress: Callable[[int], object]) -> FloatArray:
        """Return the logits behind every word but the last, ``(words - 1, vocabulary)``: a step each."""
        read, found = self.begin(), []
        for word in ids[:-1]:
            found.append(read([word]))
            progress(1)
        return np.stack(found)


class Checkpoint:
    """A causal language model of transformers in float32.

    Raises
    ------
    ConfigError
        If the folder is another kind of checkpoint, or has no tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        part = load_folder(folder)[-1]
        words = folder / "tokenizer.json"
        if not isinstance(part, LanguagePart) or not words.is_file():
            raise ConfigError(f"{folder}: holds no language model with a tokenizer.json beside it.")
        self.rotary = rotary_of(part.model)
        self.tokenizer = Tokenizer.from_file(str(words))
        self.folder = folder

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> FloatArray:
        """Return the logits behind every word but the last, by transformers itself."""
        load: Any = importlib.import_module("transformers").AutoModelForCausalLM
        model = load.from_pretrained(self.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        found: FloatArray = model.eval()(torch.tensor([list(ids[:-1])])).logits[0].float().numpy()
        return found


def measure_language(
    bundles: Sequence[Path],
    target: str,
    checkpoint: Checkpoint,
    tokens: int,
    peers: dict[str, str],
    longest: int,
    progress: Callable[[int], object] = lambda _done: None,
) -> LanguageFigures:
    """Measure bundles of one checkpoint, and peers beside them.

    Parameters
    ----------
    bundles
        Whose language models are held against the checkpoint.
    target
        Which of their artifacts.
    checkpoint
        What they were built from.
    tokens
        How many of the text's tokens are read.
    peers
        Commands by name, each given the lengths of prompt and answer and the number of threads; they print a `Speed`.
    longest
        Most words of an answer to one of the fixed questions.
    progress
        Called with 1 for each token read by a bundle.
    """
    ids = checkpoint.tokenizer.encode(TEXT.read_text(encoding="utf-8")).ids[:tokens]
    expected = checkpoint.logits(ids)
    chosen = expected.argmax(1)
    answers = library_answers(checkpoint.folder, longest)
    said: dict[str, Likelihood] = {}
    agreed: dict[str, Agreement] = {}
    speeds: dict[str, Speed] = {}
    for path in bundles:
        reader = Reader(path, target, checkpoint.rotary)
        said[path.stem] = _likelihood(reader.logits(ids, progress), ids, chosen)
        agreed[path.stem] = compare_answers(answers, reader.begin)
        del reader  # its memory is not the next one's
        # In a process of its own, as a peer's, so that its memory is told.
        speeds[path.stem] = time_peer(path.stem, shlex.join([sys.executable, "-m", _OWN, str(path), target]))
    speeds |= {name: time_peer(name, command) for name, command in peers.items()}
    own = _likelihood(expected, ids, chosen)
    return LanguageFigures(tokens=len(ids), checkpoint=own, bundles=said, answers=agreed, speeds=speeds)


def time_peer(name: str, command: str) -> Speed:
    """Run a peer's command and return what it prints.

    Raises
    ------
    BackendError
        If it fails or prints something else.
    """
    arguments = [*shlex.split(command), str(_PROMPT), str(_DECODED), "1"]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=_PEER_SECONDS, check=False)  # noqa: S603 - the user's own command
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"{name}: `{command}` did not run ({error}); leave --peer {name} out.") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        told = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise BackendError(f"{name}: `{command}` failed ({told}); leave --peer {name} out.")
    return check_json(Speed, lines[-1], f"{name}: `{command}` printed no speed")


def _likelihood(logits: FloatArray, ids: Sequence[int], chosen: npt.NDArray[np.integer]) -> Likelihood:
    wide = logits.astype(np.float64)
    wide -= wide.max(1, keepdims=True)
    told = wide[np.arange(len(wide)), list(ids[1:])] - np.log(np.exp(wide).sum(1))
    agreement = float(np.mean(logits.argmax(1) == chosen))
    return Likelihood(perplexity=float(np.exp(-told.mean())), agreement=agreement)


def language_text(figures: LanguageFigures) -> str:
    """Return the figures as three Markdown tables."""
    base = figures.checkpoint.perplexity
    rows = [
        (name, plain(each.perplexity, 2), f"{each.perplexity / base - 1:+.1%}", f"{each.agreement:.1%}")
        for name, each in {"checkpoint, float32": figures.checkpoint, **figures.bundles}.items()
    ]
    likelihoods = markdown((f"{figures.tokens} tokens", "perplexity", "beside float32", "same greedy choice"), rows)
    agreed = markdown(
        ("greedy answers", "words", "same, given the same before", "before the first other", "equal answers"),
        [
            (name, str(a.words), f"{a.followed:.1%}", f"{a.written:.1%}", f"{a.equal} of {a.answers}")
            for name, a in figures.answers.items()
        ],
    )
    speeds = markdown(
        ("one thread", "prefill, tokens per CPU second", "decode, tokens per CPU second", "peak MiB"),
        [(n, plain(s.prefill, 1), plain(s.decode, 1), plain(s.peak_mib, 0)) for n, s in figures.speeds.items()],
    )
    return f"{likelihoods}\n\n{agreed}\n\n{speeds}"
