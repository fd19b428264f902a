"""Measures combinations of cheap units, in this process or in several that each have a trial of their own."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from pocketcrafter.benchmarks.quantization.journal import Journal, Measured
from pocketcrafter.benchmarks.quantization.setup import TrialSettings, make_trial
from pocketcrafter.benchmarks.quantization.trials import Trial

Progress = Callable[[int, int], None]

_own: list[Trial] = []
"""A worker process's trial."""


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
