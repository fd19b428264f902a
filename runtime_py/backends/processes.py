"""Runs native toolchains in processes of their own: some failures end a process, and some state outlives its owner."""

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Final, TextIO

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
    module: str,
    folder: Path,
    subject: Path,
    engine: str,
    *,
    environment: Mapping[str, str] | None = None,
    progress: Told | None = None,
) -> None:
    """Run ``python -m module folder`` and wait for it.

    Parameters
    ----------
    module
        Its main calls :func:`run_job`.
    folder
        Holds `JOB` and whatever else the process reads or leaves.
    subject, engine
        What is worked on, and by what: for messages.
    environment
        Variables beside those of this process.
    progress
        Told what the process tells.

    Raises
    ------
    GateError
        If the process says that a gate was missed.
    BackendError
        If it fails otherwise, takes more than half an hour, or dies.
    """
    command = [sys.executable, "-P", "-m", module, str(folder)]
    surroundings = {**os.environ, **(environment or {})}
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - a module of this package
            command, stdout=subprocess.PIPE, stderr=log, env=surroundings, text=True, errors="replace"
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(_TIMEOUT_S, end)
        timer.start()
        try:
            _listen(process, progress)
            code = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
    if late.is_set():
        raise BackendError(f"{subject}: {engine} was not done after {_TIMEOUT_S} s.")
    if code == 0:
        return
    failure = folder / FAILURE
    if failure.exists():
        text = failure.read_text(encoding="utf-8")
        raise GateError(text) if code == GateError.exit_code else BackendError(f"{subject}: {engine} failed: {text}")
    tail = (folder / _LOG).read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL_CHARS:]
    raise BackendError(f"{subject}: {engine}'s process ended with code {code}; the last that it said: {tail}")


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

    try:
        work(folder, tell)
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
    if process.stdout is None:
        raise TypeError("the process was started without a pipe")
    with process.stdout as lines:
        for line in lines:
            done, _, total = line.partition(" ")
            if progress is not None and done.isdecimal() and total.strip().isdecimal():
                progress(int(done), int(total))


def _follow_parent(parent: int) -> None:
    """End with the process that asked, however it ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
