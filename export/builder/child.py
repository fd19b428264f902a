"""Runs a stage's function in a process of its own, so that its memory comes back and its crash is only its own."""

import contextlib
import importlib
import multiprocessing
import os
import resource
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from pocketcrafter.export.builder.stage import Progress
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import GateError, PocketCrafterError

_GOODBYE_SECONDS: Final = 10


class StageError(PocketCrafterError):
    """A stage's process failed for a reason that nobody foresaw, or was killed."""


@dataclass(frozen=True)
class _Call:
    run: str
    inputs: Mapping[str, Path]
    settings: Config
    out: Path
    log: Path


@dataclass(frozen=True)
class _Failure:
    message: str
    exit_code: int | None


def run_in_child(
    run: str, inputs: Mapping[str, Path], settings: Config, out: Path, log: Path, progress: Progress
) -> int:
    """Call ``module:function`` in a new process.

    Parameters
    ----------
    run, inputs, settings, out
        As in :class:`~pocketcrafter.export.builder.stage.Stage`.
    log
        Receives all that the process prints.
    progress
        Called here with what the function reports.

    Returns
    -------
    int
        Peak resident memory of the process in MiB.

    Raises
    ------
    GateError
        If the function raised one.
    PocketCrafterError
        If the function raised one that is no gate.
    StageError
        If it failed otherwise or its process died.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_main, args=(theirs, _Call(run, inputs, settings, out, log)), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            message = ours.recv()
            if isinstance(message, (_Failure, int)):
                # Ended rather than killed, it gives back its semaphores itself.
                process.join(_GOODBYE_SECONDS)
                if isinstance(message, _Failure):
                    raise _as_error(message, run, log)
                return message
            progress(*message)
    except EOFError:
        process.join()
        reason = f"exit code {process.exitcode}"
        if process.exitcode == -9:
            reason = "killed, most likely for want of memory: close other programs, or build where there is more"
        raise StageError(f"The process of {run} ended early ({reason}). What it printed: {log}") from None
    finally:
        process.terminate()
        process.join()
        ours.close()


def _as_error(failure: _Failure, run: str, log: Path) -> PocketCrafterError:
    if failure.exit_code is None:
        return StageError(f"{run} failed: {failure.message}. What it printed: {log}")
    kind = GateError if failure.exit_code == GateError.exit_code else PocketCrafterError
    return kind(failure.message)


def _main(connection: Connection, call: _Call) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    with call.log.open("w", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        module, _, function = call.run.partition(":")
        getattr(importlib.import_module(module), function)(
            call.inputs, call.settings, call.out, lambda done, total: connection.send((done, total))
        )
    except PocketCrafterError as error:
        connection.send(_Failure(str(error), error.exit_code))
    except Exception as error:
        traceback.print_exc()
        connection.send(_Failure(f"{type(error).__name__}: {error}", None))
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection.send(peak >> (20 if sys.platform == "darwin" else 10))
    finally:
        with contextlib.suppress(OSError):
            connection.close()


def _follow_parent() -> None:
    """End with the build, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
