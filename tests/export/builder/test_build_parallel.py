"""Stages side by side: as many as the budget allows, each on one thread, none left behind by a failure or a kill."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from pocketcrafter.export.builder.child import StageError
from pocketcrafter.export.builder.runner import Budget, in_order, run
from pocketcrafter.export.builder.stage import Estimate, Stage
from pocketcrafter.export.builder.store import Store

MakeStage = Callable[..., Stage]
PLENTY = 1 << 20
KILLS = 20
BUILD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import stage_functions
from pocketcrafter.export.builder.runner import Budget, run
from pocketcrafter.export.builder.stage import Estimate, Stage
from pocketcrafter.export.builder.store import Store

def make(name, *needs):
    settings = stage_functions.Settings(text=name, calls=sys.argv[2])
    return Stage(name, "stage_functions:write", {n.name: n for n in needs}, settings, (), Estimate(1, 1, 1))

if __name__ == "__main__":
    first = make("first")
    last = make("last", *(make(f"m{i}", make(f"n{i}", first)) for i in range(4)))
    print(run(last, Store(Path(sys.argv[3])), budget=Budget(2, 1 << 20)))
"""


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    path = tmp_path / "calls"
    path.touch()
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "stages")


@pytest.fixture
def fan(functions: ModuleType, calls: Path) -> MakeStage:
    """Independent stages of one function, 100 MiB each, and one that needs them all."""

    def make(*of: str) -> Stage:
        needed = {
            f"{function}-{index}": Stage(
                f"{function}-{index}",
                f"stage_functions:{function}",
                {},
                functions.Settings(text=f"{function}-{index}", calls=str(calls)),
                (),
                Estimate(1, 100, 1),
            )
            for index, function in enumerate(of)
        }
        settings = functions.Settings(text="last", calls=str(calls))
        return Stage("last", "stage_functions:write", needed, settings, (), Estimate(1, 1, 1))

    return make


def test_stages_that_do_not_need_each_other_run_at_the_same_time(fan: MakeStage, store: Store) -> None:
    run(fan("meet", "meet"), store, budget=Budget(2, PLENTY))


@pytest.mark.parametrize("budget", [Budget(1, PLENTY), Budget(3, 150), Budget(3, 1)])
def test_no_more_run_than_jobs_and_memory_allow(fan: MakeStage, store: Store, calls: Path, budget: Budget) -> None:
    run(fan("span", "span", "span"), store, budget=budget)
    assert calls.read_text().split() == ["start", "end"] * 3 + ["last"]


def test_a_stage_computes_on_one_thread(fan: MakeStage, store: Store) -> None:
    last = fan("threads")
    run(last, store)
    result = store.result(in_order(last)[0])
    assert result is not None
    assert (result / "r").read_text() == "1"


def test_a_stage_has_the_surroundings_of_its_own_build(
    fan: MakeStage, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages are forked from a server that an earlier build in this process may have started elsewhere."""
    run(fan("write"), store)
    monkeypatch.setenv("WANTED", "here")
    monkeypatch.chdir(tmp_path)
    last = fan("surroundings")
    run(last, store)
    result = store.result(in_order(last)[0])
    assert result is not None
    assert (result / "r").read_text() == f"here {tmp_path}"


def test_what_much_is_left_to_do_after_comes_first(functions: ModuleType, store: Store, calls: Path) -> None:
    def stage(name: str, seconds: float, *needs: Stage) -> Stage:
        settings = functions.Settings(text=name, calls=str(calls))
        needed = {need.name: need for need in needs}
        return Stage(name, "stage_functions:write", needed, settings, (), Estimate(seconds, 1, 1))

    way = stage("then", 50, stage("short", 1))
    run(stage("last", 1, stage("long", 20), way), store, budget=Budget(1, PLENTY))
    assert calls.read_text().split() == ["short", "then", "long", "last"]


def test_a_failure_ends_what_runs_beside_it(fan: MakeStage, store: Store) -> None:
    started = time.monotonic()
    with pytest.raises(StageError, match="surprise"):
        run(fan("hang", "crash"), store, budget=Budget(2, PLENTY))
    assert time.monotonic() - started < 60
    assert not list(store.root.glob("*.tmp"))


def test_progress_of_stages_side_by_side_never_falls(fan: MakeStage, store: Store) -> None:
    seen: list[int] = []
    run(fan("write", "write", "write"), store, lambda _what, done, _total: seen.append(done), Budget(3, PLENTY))
    assert seen == sorted(seen)
    assert seen[-1] == 4


def test_a_build_killed_twenty_times_gives_what_an_undisturbed_one_gives(
    functions: ModuleType, calls: Path, tmp_path: Path
) -> None:
    script = tmp_path / "build.py"
    script.write_text(BUILD)
    command = [sys.executable, str(script), str(Path(str(functions.__file__)).parent), str(calls)]

    def finish(root: Path) -> dict[str, str]:
        done = subprocess.run([*command, str(root)], capture_output=True, text=True, check=True)  # noqa: S603
        assert Path(done.stdout.strip()).is_dir()
        assert not list(root.glob("*.tmp"))
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("r"))
        }

    undisturbed = finish(tmp_path / "undisturbed")
    chance = random.Random(0)  # noqa: S311 - no secret
    root = tmp_path / "killed"
    for _ in range(KILLS):
        process = subprocess.Popen([*command, str(root)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        time.sleep(chance.uniform(0.2, 1.8))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert finish(root) == undisturbed
    assert len(undisturbed) == 10
