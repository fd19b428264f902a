"""Runs a graph of stages: what is made already is taken, what fails a gate is told in full, the rest is made."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pocketcrafter.export.builder.child import run_in_child
from pocketcrafter.export.builder.stage import Progress, Stage
from pocketcrafter.export.builder.store import Store
from pocketcrafter.runtime.errors import GateError, PocketCrafterError

try:
    import fcntl
except ImportError:  # no advisory locks on this system
    fcntl = None  # type: ignore[assignment]


class BuildBusyError(PocketCrafterError):
    """Another build works in the same directory."""


def in_order(last: Stage) -> list[Stage]:
    """Return a stage and all it needs, each once, inputs first."""
    return list({stage.name: stage for stage in (*last.ancestors(), last)}.values())


def missing_stages(last: Stage, store: Store) -> list[Stage]:
    """Return the stages that a build of ``last`` would run, in order."""
    return [stage for stage in in_order(last) if store.result(stage) is None]


def run(last: Stage, store: Store, progress: Callable[[str, int, int], None] = lambda *_: None) -> Path:
    """Make a stage's result, and before it that of every stage it needs.

    Parameters
    ----------
    last
        The stage that is wanted.
    store
        Where results lie and are put.
    progress
        Called with the running stage's name, the estimated seconds of work done, and those of all the work.

    Returns
    -------
    Path
        The result's directory.

    Raises
    ------
    GateError
        If a stage missed its gate; stages that do not need it have run, and all misses are in the message.
    PocketCrafterError
        If a stage failed otherwise, or another build is at work here.
    """
    with _alone(store.root):
        return _run(last, store, progress)


def _run(last: Stage, store: Store, progress: Callable[[str, int, int], None]) -> Path:
    results = {stage.name: found for stage in in_order(last) if (found := store.result(stage)) is not None}
    waiting = [stage for stage in in_order(last) if stage.name not in results]
    seconds = {stage.name: max(1.0, store.estimate(stage).seconds) for stage in waiting}
    total, before = round(sum(seconds.values())), 0.0
    missed: list[str] = []
    for stage in waiting:
        share = seconds[stage.name]

        report = _reporter(stage.name, before, share, total, progress)
        report(0, 1)
        if all(i.name in results for i in stage.inputs.values() if isinstance(i, Stage)):
            try:
                results[stage.name] = _make(stage, store, results, report)
            except GateError as error:
                missed.append(f"{stage.name}: {error}")
        before += share
    if missed:
        raise GateError("\n".join([*missed, "The build stopped; no bundle was written."]))
    store.prune(in_order(last))
    progress("done", total, total)
    return results[last.name]


def _reporter(name: str, start: float, share: float, total: int, progress: Callable[[str, int, int], None]) -> Progress:
    def report(done: int, steps: int) -> None:
        progress(name, min(total, int(start + share * done / max(1, steps))), total)

    return report


def _make(stage: Stage, store: Store, results: dict[str, Path], report: Progress) -> Path:
    started = time.monotonic()
    scratch = store.scratch(stage)
    inputs = {n: results[i.name] if isinstance(i, Stage) else i for n, i in stage.inputs.items()}
    try:
        peak = run_in_child(stage.run, inputs, stage.settings, scratch, store.log(stage), report)
        return store.keep(stage, scratch, time.monotonic() - started, peak)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        _lock(lock, root)
        yield


def _lock(lock: IO[str], root: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BuildBusyError(f"Another build is at work in {root}; wait for it, or end it.") from error
