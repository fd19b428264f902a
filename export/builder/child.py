"""Runs a stage's function in a process of its own: its memory is freed at the end, and a crash stays contained."""

import contextlib
import importlib
import multiprocessing
import multiprocessing.forkserver
import os
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Final

from pocketcrafter.export.builder.preload import PRELOAD
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import GateError, PocketCrafterError
from pocketcrafter.runtime.files import FAILURES, storage_error
from pocketcrafter.runtime.memory import largest_child_mib, resident_mib

_GOODBYE_SECONDS: Final = 10
_ENVIRONMENT: Final = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    # coremltools draws more progress bars than it does work; the build has its own.
    "TQDM_DISABLE": "1",
}
_SERVER: Final = "forkserver"


class StageError(PocketCrafterError):
    """A stage's process failed with an unexpected error, or was killed."""


@dataclass(frozen=True)
class _Call:
    run: str
    inputs: Mapping[str, Path]
    settings: Config
    out: Path
    log: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class _Failure:
    message: str
    exit_code: int | None


@dataclass(frozen=True)
class Ended:
    """A stage's process has done its work."""

    peak_mib: int
    """Its largest resident memory, or that of a process of its own that had more."""
    cpu_seconds: float
    """What it computed for, its own processes included, however busy the machine was."""


def warm_up(modules: Sequence[str]) -> None:
    """Import modules in the server that every :class:`Child` is forked from, where this system has such a thing.

    Torch, ExecuTorch and coremltools take ten seconds to import, longer than many a stage. A server that runs already
    is left as it is.
    """
    if _SERVER not in multiprocessing.get_all_start_methods():
        return
    multiprocessing.get_context(_SERVER).set_forkserver_preload(["pocketcrafter.export.builder.preload"])
    with _environment({**_ENVIRONMENT, PRELOAD: ",".join(modules)}):
        multiprocessing.forkserver.ensure_running()


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _context() -> ForkServerContext | SpawnContext:
    if _SERVER in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context(_SERVER)
    return multiprocessing.get_context("spawn")


class Child:
    """A call of ``module:function`` in a new process, on one thread.

    It uses one thread on every machine, because another order of summation would change the artifact's bytes. Call
    :func:`warm_up` first; otherwise each process imports its modules itself.

    Parameters
    ----------
    run, inputs, settings, out
        As in :class:`~pocketcrafter.export.builder.stage.Stage`.
    log
        Receives all that the process prints.
    """

    def __init__(self, run: str, inputs: Mapping[str, Path], settings: Config, out: Path, log: Path) -> None:
        self._run, self._log = run, log
        context = _context()
        self.connection, theirs = context.Pipe(duplex=False)
        """Readable when there is something to `receive`."""
        call = _Call(run, inputs, settings, out, log, dict(os.environ))
        self._process = context.Process(target=_main, args=(theirs, call), daemon=True)
        self._process.start()
        theirs.close()

    def receive(self) -> tuple[int, int] | Ended:
        """Wait for what the process says next: steps done and in all, or its end.

        Raises
        ------
        GateError
            If the function raised one.
        PocketCrafterError
            If the function raised one that is no gate.
        StageError
            If it failed otherwise or its process died.
        """
        try:
            message: tuple[int, int] | Ended | _Failure = self.connection.recv()
        except EOFError:
            self._process.join()
            reason = f"exit code {self._process.exitcode}"
            if self._process.exitcode == -9:
                reason = "killed, most likely for want of memory: close other programs, or build where there is more"
            raise StageError(
                f"The process of {self._run} ended early ({reason}). What it printed: {self._log}"
            ) from None
        if isinstance(message, (_Failure, Ended)):
            # Ended rather than killed, it gives back its semaphores itself.
            self._process.join(_GOODBYE_SECONDS)
        if isinstance(message, _Failure):
            raise _as_error(message, self._run, self._log)
        return message

    def stop(self) -> None:
        """End the process, where it has not ended itself."""
        self._process.terminate()
        self._process.join()
        self.connection.close()


def _as_error(failure: _Failure, run: str, log: Path) -> PocketCrafterError:
    if failure.exit_code is None:
        return StageError(f"{run} failed: {failure.message}. What it printed: {log}")
    kind = GateError if failure.exit_code == GateError.exit_code else PocketCrafterError
    return kind(failure.message)


def _main(connection: Connection, call: _Call) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    # The server's environment is that of its first build.
    os.environ.clear()
    os.environ.update({**call.environment, **_ENVIRONMENT})
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
    except OSError as error:
        if error.errno in FAILURES:
            told = storage_error(str(error.filename or call.out), error)
            connection.send(_Failure(str(told), told.exit_code))
        else:
            traceback.print_exc()
            connection.send(_Failure(f"{type(error).__name__}: {error}", None))
    except Exception as error:
        traceback.print_exc()
        connection.send(_Failure(f"{type(error).__name__}: {error}", None))
    else:
        children = os.times()
        connection.send(
            Ended(
                peak_mib=round(max(resident_mib()[1], largest_child_mib())),
                # Ticks of the times that systems account are as long as small stages take.
                cpu_seconds=time.process_time() + children.children_user + children.children_system,
            )
        )
    finally:
        with contextlib.suppress(OSError):
            connection.close()


def _follow_parent() -> None:
    """End with the build, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
