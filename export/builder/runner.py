"""Runs a graph of stages: cached results are reused, missing ones are computed, every missed gate is reported."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final, Self, cast

from pocketcrafter.export.builder.child import Child, Ended, warm_up
from pocketcrafter.export.builder.stage import Input, Stage
from pocketcrafter.export.builder.store import Store
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.files import only_writer
from pocketcrafter.runtime.memory import memory_mib

_SHARE_OF_FREE: Final = 0.8
_LATE: Final[Mapping[str, str]] = {"coremltools": "coremltools", "onnxscript": "torch.onnx._internal.exporter._compat"}
"""Modules of distributions that the stages import when they need them."""


def in_order(last: Stage) -> list[Stage]:
    """Return a stage and all it needs, each once, inputs first."""
    return list({stage.name: stage for stage in (*last.ancestors(), last)}.values())


def missing_stages(last: Stage, store: Store) -> list[Stage]:
    """Return the stages that a build of ``last`` would run, in order.

    Where a result is there and intact, what it was made from is not looked at: nobody needs it any more.
    """
    return _survey(last, store)[1]


def _survey(last: Stage, store: Store) -> tuple[dict[str, Path], list[Stage]]:
    """Return the results there are, of ``last`` or of what it takes to make it, and the stages that are missing."""
    found: dict[str, Path] = {}
    missing: dict[str, Stage] = {}
    waiting = [last]
    while waiting:
        stage = waiting.pop()
        if stage.name in found or stage.name in missing:
            continue
        result = store.result(stage)
        if result is None:
            missing[stage.name] = stage
            waiting += [source for source in stage.inputs.values() if isinstance(source, Stage)]
        else:
            found[stage.name] = result
    return found, [stage for stage in in_order(last) if stage.name in missing]


@dataclass(frozen=True)
class Budget:
    """What stages that run at the same time may take together."""

    jobs: int
    ram_mib: int

    @classmethod
    def of_machine(cls) -> Self:
        """Return one stage for each core, in most of the memory that is free."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        total, free = memory_mib()
        return cls(jobs=cores, ram_mib=int(free * _SHARE_OF_FREE) if total else sys.maxsize)


def run(
    last: Stage,
    store: Store,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    budget: Budget | None = None,
) -> Path:
    """Make a stage's result, and before it that of every stage it needs, several at the same time.

    Parameters
    ----------
    last
        The stage that is wanted.
    store
        Where results lie and are put.
    progress
        Called with a running stage's name, the estimated seconds of work done, and those of all the work.
    budget
        How many stages run at the same time, and in how much memory; one alone runs whatever it takes. That of the
        machine when not given.

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
    with only_writer(store.root, store.lock):
        store.clear_scratch()
        return _Crew(last, store, progress, budget or Budget.of_machine()).run()


def _imports(stages: Sequence[Stage]) -> list[str]:
    """Return the modules that stages run in, and those of their tools that they import late."""
    tools = {tool for stage in stages for tool in stage.tools}
    runs = {name.partition(":")[0] for stage in stages for name in (stage.run, *stage.modules)}
    return [*sorted(runs), *(module for tool, module in _LATE.items() if tool in tools)]


def _ways(stages: Sequence[Stage], seconds: Mapping[str, float]) -> dict[str, float]:
    """Return, by stage, the seconds from its start to the end of all, were there a core for everything.

    ``stages`` come inputs first.
    """
    after = dict.fromkeys(seconds, 0.0)
    ways: dict[str, float] = {}
    for stage in reversed(stages):
        ways[stage.name] = seconds[stage.name] + after[stage.name]
        for source in stage.inputs.values():
            if isinstance(source, Stage) and source.name in after:
                after[source.name] = max(after[source.name], ways[stage.name])
    return ways


@dataclass
class _Running:
    """A stage at work."""

    stage: Stage
    child: Child
    scratch: Path
    ram_mib: int
    started: float
    done: float = 0.0


class _Crew:
    """The stages at work, and those that wait."""

    def __init__(self, last: Stage, store: Store, progress: Callable[[str, int, int], None], budget: Budget) -> None:
        self._last, self._store, self._progress, self._budget = last, store, progress, budget
        self._results, waiting = _survey(last, store)
        self._costs = {stage.name: store.estimate(stage) for stage in waiting}
        # The longest way to the end first: short ones fill what is left.
        ways = _ways(waiting, {name: cost.seconds for name, cost in self._costs.items()})
        self._waiting = sorted(waiting, key=lambda stage: -ways[stage.name])
        self._at_work: dict[Connection, _Running] = {}
        self._missed: dict[str, str] = {}
        self._total = round(sum(map(self._seconds, waiting)))
        self._finished = 0.0

    def run(self) -> Path:
        warm_up(_imports(self._waiting))
        try:
            self._start()
            while self._at_work:
                for connection in wait([*self._at_work]):
                    self._hear(self._at_work[cast("Connection", connection)])
                self._start()
        finally:
            for running in self._at_work.values():
                running.child.stop()
                shutil.rmtree(running.scratch, ignore_errors=True)
        if self._missed:
            told = [f"{s.name}: {self._missed[s.name]}" for s in in_order(self._last) if s.name in self._missed]
            raise GateError("\n".join([*told, "The build stopped; no bundle was written."]))
        self._store.prune(in_order(self._last))
        self._progress("done", self._total, self._total)
        return self._results[self._last.name]

    def _start(self) -> None:
        """Put waiting stages to work as far as their inputs are there and the budget goes."""
        for stage in list(self._waiting):
            free = self._budget.ram_mib - sum(running.ram_mib for running in self._at_work.values())
            needs = self._costs[stage.name].ram_mib
            fits = not self._at_work or (len(self._at_work) < self._budget.jobs and needs <= free)
            ready = all(i.name in self._results for i in stage.inputs.values() if isinstance(i, Stage))
            if fits and ready:
                self._waiting.remove(stage)
                scratch = self._store.scratch(stage)
                inputs = {name: self._place(source) for name, source in stage.inputs.items()}
                child = Child(stage.run, inputs, stage.settings, scratch, self._store.log(stage))
                self._at_work[child.connection] = _Running(stage, child, scratch, needs, time.monotonic())
                self._tell(stage.name)

    def _place(self, source: Input) -> Path:
        """Return where an input lies."""
        if isinstance(source, Stage):
            return self._results[source.name]
        return source if isinstance(source, Path) else source.folder

    def _hear(self, running: _Running) -> None:
        """Take what a stage's process has to say."""
        stage = running.stage
        try:
            message = running.child.receive()
            if not isinstance(message, Ended):
                done, steps = message
                running.done = self._seconds(stage) * min(1.0, done / max(1, steps))
                self._tell(stage.name)
                return
            seconds = time.monotonic() - running.started
            self._results[stage.name] = self._store.keep(stage, running.scratch, seconds, message)
        except GateError as error:
            self._missed[stage.name] = str(error)
        del self._at_work[running.child.connection]
        running.child.stop()
        shutil.rmtree(running.scratch, ignore_errors=True)
        self._finished += self._seconds(stage)
        self._tell(stage.name)

    def _seconds(self, stage: Stage) -> float:
        return max(1.0, self._costs[stage.name].seconds)

    def _tell(self, name: str) -> None:
        done = self._finished + sum(running.done for running in self._at_work.values())
        self._progress(name, min(self._total, int(done)), self._total)
