"""A process for each competitor: its memory is its own, and it waits, warm, until it is its turn."""

import multiprocessing
import os
import statistics
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final, Self, TypeVar

from pocketcrafter.benchmarks.common.machine import frequency_mhz, temperature_celsius
from pocketcrafter.benchmarks.latency.jobs import Job, Run
from pocketcrafter.benchmarks.latency.results import SustainedPoint
from pocketcrafter.runtime.errors import BackendError, PocketCrafterError
from pocketcrafter.runtime.memory import resident_mib

_T = TypeVar("_T")
_GOODBYE_SECONDS: Final = 10
_LONG_SECONDS: Final = 1.0
"""A run that takes longer finds caches and clocks as it makes them itself: it needs no untimed run just before."""


@dataclass(frozen=True)
class Opened:
    """How a job started: seconds to open it and for its first run, MiB before, distance to the golden."""

    load_s: float
    first_s: float
    base_rss_mib: float
    sqnr_db: float | None


@dataclass(frozen=True)
class Lap:
    """One timed run: seconds of the clock, of the CPU, and by stage; of a job that is done in a row, the mean."""

    wall_s: float
    cpu_s: float
    stages_s: dict[str, float]


@dataclass(frozen=True)
class _Sustain:
    """Ask for runs without a pause, for so many windows of so many seconds each."""

    windows: int
    window_s: float


@dataclass(frozen=True)
class _Failed:
    message: str


_LAP: Final = "lap"
_FINISH: Final = "finish"


class Child:
    """A job in a new process, opened and run once.

    Raises
    ------
    BackendError
        By every method, if the job fails or its process dies.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, job), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.opened = self._receive(Opened)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lap(self) -> Lap:
        """Run twice and time the second, or only once where a run takes longer than a second."""
        self._send(_LAP)
        return self._receive(Lap)

    def sustain(self, windows: int, window_s: float) -> Iterator[SustainedPoint]:
        """Run without a pause and report each window as it ends."""
        self._send(_Sustain(windows, window_s))
        for _ in range(windows):
            yield self._receive(SustainedPoint)

    def finish(self) -> float:
        """End the process and return its highest resident memory in MiB."""
        self._send(_FINISH)
        peak = self._receive(float)
        self._process.join(_GOODBYE_SECONDS)
        self.close()
        return peak

    def close(self) -> None:
        """End the process, whatever it does."""
        self._connection.close()
        self._process.terminate()
        self._process.join()

    def _send(self, request: object) -> None:
        try:
            self._connection.send(request)
        except OSError as error:
            raise BackendError(self._death()) from error

    def _receive(self, kind: type[_T]) -> _T:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise BackendError(self._death()) from None
        if isinstance(answer, _Failed):
            raise BackendError(answer.message)
        if not isinstance(answer, kind):
            raise BackendError(f"{self.job.name}: its process sent {type(answer).__name__}, not {kind.__name__}.")
        return answer

    def _death(self) -> str:
        self._process.join(_GOODBYE_SECONDS)
        code = self._process.exitcode
        reason = "killed, most likely for want of memory" if code == -9 else f"exit code {code}"
        return f"{self.job.name}: its process ended early ({reason})."


def _serve(connection: Connection, job: Job) -> None:
    # Engines print from C++; standard output belongs to the parent's result.
    os.dup2(sys.stderr.fileno(), 1)
    try:
        job.import_engine()
        base, _ = resident_mib()
        start = time.perf_counter()
        run = job.open()
        loaded = time.perf_counter()
        run()
        first = time.perf_counter()
        connection.send(Opened(loaded - start, first - loaded, base, job.sqnr_db(run)))
        short = first - loaded < _LONG_SECONDS
        while (request := connection.recv()) != _FINISH:
            if isinstance(request, _Sustain):
                _sustain(connection, run, request)
                continue
            if short:
                run()
            lap = _lap(run, job.in_a_row)
            short = lap.wall_s < _LONG_SECONDS
            connection.send(lap)
        connection.send(resident_mib()[1])
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return  # the parent has left, or is about to
    except PocketCrafterError as error:
        connection.send(_Failed(str(error)))
    except Exception as error:
        traceback.print_exc()
        connection.send(_Failed(f"{job.name}: {type(error).__name__}: {error}"))


def _lap(run: Run, times: int) -> Lap:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(times):
        stages = run()
    return Lap((time.perf_counter() - wall) / times, (time.process_time() - cpu) / times, dict(stages))


def _sustain(connection: Connection, run: Run, request: _Sustain) -> None:
    begin = time.perf_counter()
    for window in range(1, request.windows + 1):
        taken: list[float] = []
        while not taken or time.perf_counter() < begin + window * request.window_s:
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
        connection.send(
            SustainedPoint(
                seconds=time.perf_counter() - begin,
                inferences=len(taken),
                median_ms=1e3 * statistics.median(taken),
                rss_mib=resident_mib()[0],
                frequency_mhz=frequency_mhz(),
                temperature_celsius=temperature_celsius(),
            )
        )
