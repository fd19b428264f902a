"""Runs native toolchains in processes of their own: some failures end a process, and some state outlives its owner."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Final, TextIO

from pocketcrafter.runtime.errors import BackendError, GateError, PocketCrafterError

JOB: Final = "job.json"
FAILURE: Final = "failure.txt"
_LOG: Final = "log.txt"
_LOG_TAIL_CHARS: Final = 600
_FAILURE_CHARS: Final = 2000
_TIMEOUT_S: Final = 1800

Told = Callable[[int, int], None]
"""Called with steps done and steps in all."""


def call_process(
    module: str | Path,
    folder: Path,
    subject: Path,
    engine: str,
    *,
    environment: Mapping[str, str] | None = None,
    progress: Told | None = None,
    python: Path | None = None,
) -> None:
    """Run ``python -m module folder`` and wait for it.

    Parameters
    ----------
    module
        Its main calls :func:`run_job`. A file is a script for another environment, which leaves `FAILURE` by itself.
    folder
        Holds `JOB` and whatever else the process reads or leaves.
    subject, engine
        What is worked on, and by what: for messages.
    environment
        Variables beside those of this process.
    progress
        Told what the process tells.
    python
        The interpreter of another environment; this one's when `None`.

    Raises
    ------
    GateError
        If the process says that a gate was missed.
    BackendError
        If it fails otherwise, takes more than half an hour, or dies.
    """
    with (folder / _LOG).open("wb") as log:
        process = _start(module, folder, log, environment, subprocess.DEVNULL, python)
    with _deadline(process) as late:
        try:
            _listen(process, progress)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
    if late.is_set() or code != 0:
        raise _failure(code, folder, subject, engine, late=late.is_set())


class StandingProcess:
    """``python -m module folder`` that stays, and is asked again and again.

    Its job makes it read :func:`orders`; it tells once when it is ready, and once for each order that it has carried
    out. It ends with its owner.

    Parameters
    ----------
    module, folder, subject, engine, environment
        As for :func:`call_process`.

    Raises
    ------
    GateError, BackendError
        As :func:`call_process` does, here and in :meth:`ask`.
    """

    def __init__(
        self, module: str, folder: Path, subject: Path, engine: str, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder, self._subject, self._engine = folder, subject, engine
        self._one_at_a_time = threading.Lock()
        with (folder / _LOG).open("wb") as log:
            self._process = _start(module, folder, log, environment, subprocess.PIPE)
        self._end = weakref.finalize(self, _end, self._process)
        self._hear()

    def ask(self, order: int) -> None:
        """Have an order carried out."""
        with self._one_at_a_time:
            # A process that died cannot be written to; it is heard that it did.
            with contextlib.suppress(BrokenPipeError):
                print(order, file=_open(self._process.stdin), flush=True)
            self._hear()

    def end(self) -> None:
        """End the process."""
        self._end()

    def _hear(self) -> None:
        with _deadline(self._process) as late:
            line = _open(self._process.stdout).readline()
        if not line:
            code = self._process.wait()
            raise _failure(code, self._folder, self._subject, self._engine, late=late.is_set())


def _start(
    module: str | Path,
    folder: Path,
    log: IO[bytes],
    environment: Mapping[str, str] | None,
    stdin: int,
    python: Path | None = None,
) -> "subprocess.Popen[str]":
    what = [str(module)] if isinstance(module, Path) else ["-m", module]
    return subprocess.Popen(  # noqa: S603 - a module of this package
        [str(python or sys.executable), "-P", *what, str(folder)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, **(environment or {})},
        text=True,
        errors="replace",
    )


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        # What was not read any more goes with the process.
        with contextlib.suppress(BrokenPipeError):
            _open(stream).close()


def _open(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise TypeError("the process was started without a pipe")
    return stream


@contextlib.contextmanager
def _deadline(process: "subprocess.Popen[str]") -> Iterator[threading.Event]:
    """Kill a process that takes half an hour, and say so."""
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(_TIMEOUT_S, end)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _failure(code: int, folder: Path, subject: Path, engine: str, *, late: bool) -> PocketCrafterError:
    if late:
        return BackendError(f"{subject}: {engine} was not done after {_TIMEOUT_S} s.")
    failure = folder / FAILURE
    if failure.exists():
        text = failure.read_text(encoding="utf-8")
        return GateError(text) if code == GateError.exit_code else BackendError(f"{subject}: {engine} failed: {text}")
    tail = (folder / _LOG).read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL_CHARS:]
    return BackendError(f"{subject}: {engine}'s process ended with code {code}; the last that it said: {tail}")


def orders() -> Iterator[int]:
    """Yield what a :class:`StandingProcess` is asked for, until nobody asks any more."""
    for line in sys.stdin:
        yield int(line)


def run_job(work: Callable[[Path, Told], None]) -> int:
    """Be the process that :func:`call_process` starts; return its exit code.

    What native code prints goes to the log; what ``work`` tells goes to whoever waits. The process ends with them.

    Parameters
    ----------
    work
        Called with the folder and a function that tells progress.
    """
    folder = Path(sys.argv[1])
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
    told = _private_stdout()

    def tell(done: int, total: int) -> None:
        told.write(f"{done} {total}\n")
        told.flush()

    return _outcome(lambda: work(folder, tell), folder)


def in_a_fork(work: Callable[[], None], folder: Path) -> None:
    """Do a part of a job in a copy of its process, and wait: what native libraries keep ends with the copy.

    Parameters
    ----------
    work
        Leaves what it finds in files.
    folder
        Receives why it failed.

    Raises
    ------
    GateError, BackendError
        As ``work`` does; `BackendError` if it raises anything else, or the copy dies.
    """
    parent = os.getpid()

    def copy() -> None:
        threading.Thread(target=_follow_parent, args=(parent,), daemon=True).start()
        sys.exit(_outcome(work, folder))

    process = multiprocessing.get_context("fork").Process(target=copy)
    process.start()
    process.join()
    code = process.exitcode
    if not code:
        return
    failure = folder / FAILURE
    text = failure.read_text(encoding="utf-8") if failure.exists() else f"a part of the job ended with code {code}"
    raise GateError(text) if code == GateError.exit_code else BackendError(text)


def _outcome(work: Callable[[], None], folder: Path) -> int:
    """Return the exit code that work deserves, and leave why it failed."""
    try:
        work()
    except PocketCrafterError as error:
        (folder / FAILURE).write_text(str(error)[:_FAILURE_CHARS], encoding="utf-8")
        return error.exit_code
    except Exception as error:  # toolchains raise whatever they like
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} (in {last.name}, {Path(last.filename).name}:{last.lineno})"
        (folder / FAILURE).write_text(text[:_FAILURE_CHARS], encoding="utf-8")
        return BackendError.exit_code
    return 0


def _private_stdout() -> TextIO:
    """Keep the way to the waiting process, and send everything else that is printed to the log."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return TextIOWrapper(os.fdopen(kept, "wb"), encoding="utf-8")


def _listen(process: "subprocess.Popen[str]", progress: Told | None) -> None:
    with _open(process.stdout) as lines:
        for line in lines:
            done, _, total = line.partition(" ")
            if progress is not None and done.isdecimal() and total.strip().isdecimal():
                progress(int(done), int(total))


def _follow_parent(parent: int) -> None:
    """End with the process that asked, however it ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
