"""Measures combinations of quantized units in one or several processes, with a journal to resume from."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Self

from pydantic import Field

from pocketcrafter.benchmarks.common.journal import LineJournal
from pocketcrafter.benchmarks.quantization.subjects import Damage
from pocketcrafter.benchmarks.quantization.trials import Trial, TrialSettings, make_trial
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.progress import Progress

MAX_BYTES: Final = 16 << 20

_own: list[Trial] = []
"""A worker process's trial."""


class Head(Config):
    """What is measured: the first line."""

    trial: TrialSettings
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @classmethod
    def of(cls, trial: TrialSettings) -> Self:
        """Return the head of a trial's journal.

        Raises
        ------
        ConfigError
            If the weights are missing.
        """
        weights = trial.weights / f"{trial.component}.safetensors"
        if not weights.is_file():
            raise ConfigError(f"{weights}: no such weights; name their folder with --weights.")
        return cls(trial=trial, weights_sha256=sha256_of(weights))


class Measured(Config):
    """One combination of cheap units and what it did."""

    cheap: tuple[str, ...]
    damage: Damage
    size: int = Field(ge=0, description="Bytes of all weights.")


class Journal:
    """Measured combinations: a `LineJournal` of a `Head` and a `Measured` for each.

    Parameters
    ----------
    path
        The file; without one they are kept in memory alone.
    head
        What is measured.

    Raises
    ------
    ConfigError
        As `LineJournal` does.
    """

    def __init__(self, path: Path | None, head: Head) -> None:
        self._lines = LineJournal(path, head, Measured, "pocketcrafter quantize", MAX_BYTES)
        self.done = {measured.cheap: measured for measured in self._lines.lines}

    def add(self, measured: Measured) -> None:
        """Keep a measurement."""
        self._lines.append(measured)
        self.done[measured.cheap] = measured


class Laboratory:
    """Measures, and remembers what was measured.

    Parameters
    ----------
    settings
        The trial, for worker processes to make.
    trial
        The same, made here.
    journal
        What was measured before, and where to note what is measured now.
    processes
        How many measure at the same time.
    """

    def __init__(self, settings: TrialSettings, trial: Trial, journal: Journal, processes: int = 1) -> None:
        self._settings, self._journal, self._processes = settings, journal, processes
        self.trial = trial

    def measure(self, combinations: Iterable[Sequence[str]], progress: Progress | None = None) -> list[Measured]:
        """Measure combinations of cheap units, in any order, each once; return them in the order given."""
        wanted = [tuple(sorted(c)) for c in combinations]
        missing = [c for c in dict.fromkeys(wanted) if c not in self._journal.done]
        total = len(missing)
        if self._processes > 1 and total > 1:
            workers = min(self._processes, total)
            with ProcessPoolExecutor(workers, get_context("spawn"), _start, (self._settings,)) as pool:
                try:
                    for done, future in enumerate(as_completed([pool.submit(_work, c) for c in missing]), start=1):
                        self._note(future.result(), progress, done, total)
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
        else:
            for done, combination in enumerate(missing, start=1):
                self._note(_measured(self.trial, combination), progress, done, total)
        return [self._journal.done[c] for c in wanted]

    def _note(self, measured: Measured, progress: Progress | None, done: int, total: int) -> None:
        self._journal.add(measured)
        if progress is not None:
            progress(done, total)


def _measured(trial: Trial, cheap: tuple[str, ...]) -> Measured:
    return Measured(cheap=cheap, damage=trial.damage(cheap), size=trial.size(cheap))


def _start(settings: TrialSettings) -> None:
    _own.append(make_trial(settings))


def _work(cheap: tuple[str, ...]) -> Measured:
    return _measured(_own[0], cheap)
