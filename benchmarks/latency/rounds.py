"""Runs competitors in turn, so that what disturbs the machine disturbs them alike; repeats what was noisy."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from pocketcrafter.benchmarks.latency.child import Child, Lap, Opened
from pocketcrafter.benchmarks.latency.intervals import spread
from pocketcrafter.benchmarks.latency.jobs import Job
from pocketcrafter.benchmarks.latency.results import NOISE_LIMIT
from pocketcrafter.runtime.errors import BackendError

Progress = Callable[[str, int, int], None]
J = TypeVar("J", bound=Job)

_SETTLE_SECONDS: Final = 0.03
"""Threads of the engine that ran before spin for a while before they sleep."""


@dataclass
class Measured(Generic[J]):
    """What became of one job."""

    job: J
    opened: list[Opened] = field(default_factory=list)
    laps: list[Lap] = field(default_factory=list)
    attempts: int = 0
    peak_rss_mib: float = 0.0
    failure: str = ""

    @property
    def samples_ms(self) -> list[float]:
        """Wall-clock milliseconds of the timed runs, one a round."""
        return [1e3 * lap.wall_s for lap in self.laps]

    @property
    def cpu_ms(self) -> float:
        """Mean CPU milliseconds of a timed run."""
        return 1e3 * sum(lap.cpu_s for lap in self.laps) / len(self.laps)

    def stages_ms(self) -> dict[str, float]:
        """Return the median milliseconds of each stage of the timed runs."""
        return {
            stage: 1e3 * statistics.median(lap.stages_s[stage] for lap in self.laps) for stage in self.laps[0].stages_s
        }

    @property
    def noisy(self) -> bool:
        """Whether the laps are too unlike each other."""
        return spread(self.samples_ms) > NOISE_LIMIT


def measure_in_turn(
    jobs: Sequence[J],
    repeats: int,
    loads: int,
    accept: Callable[[J, Opened], str],
    progress: Progress = lambda *_: None,
) -> list[Measured[J]]:
    """Open every job in processes of its own, then time one run of each in every round, in rotating order.

    Parameters
    ----------
    jobs
        What to compare.
    repeats
        Rounds, ≥ 1. Where any job was noisy, all of them are run for as many again, and those count.
    loads
        Processes to start for each job, one after the other, ≥ 1; the last one stays and is timed.
    accept
        Says what is wrong with a job that was opened, or "" if nothing.
    progress
        Called with a job's name, rounds done and rounds in all.

    Returns
    -------
    list of Measured
        In the order of the jobs; a job that failed has its `failure` and no laps.
    """
    measured = [Measured(job) for job in jobs]
    with ExitStack() as stack:
        children: list[tuple[Measured[J], Child]] = []
        for load in range(loads):
            for one in measured:
                progress(one.job.name, 0, repeats)
                with _blaming(one):
                    _start(one, load == loads - 1, accept, stack, children)
        for attempt in (1, 2):
            for one, _ in children:
                one.laps, one.attempts = [], attempt
            for number in range(repeats):
                turn = number % max(1, len(children))
                for one, child in children[turn:] + children[:turn]:
                    progress(one.job.name, number, repeats)
                    time.sleep(_SETTLE_SECONDS)
                    with _blaming(one):
                        one.laps.append(child.lap())
                children = [pair for pair in children if not pair[0].failure]
            if not any(one.noisy for one, _ in children):
                break
        for one, child in children:
            with _blaming(one):
                one.peak_rss_mib = child.finish()
    return measured


def _start(
    one: Measured[J],
    stays: bool,
    accept: Callable[[J, Opened], str],
    stack: ExitStack,
    children: list[tuple[Measured[J], Child]],
) -> None:
    if one.failure:
        return
    child = Child(one.job)
    one.opened.append(child.opened)
    one.failure = accept(one.job, child.opened)
    if stays and not one.failure:
        children.append((one, stack.enter_context(child)))
    else:
        child.close()


@contextmanager
def _blaming(one: Measured[Any]) -> Iterator[None]:
    """Turn a failure of a job's process into that job's own, so that the others go on."""
    try:
        yield
    except BackendError as error:
        one.failure = str(error)
        one.laps = []
