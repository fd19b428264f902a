"""The stage runner: nothing is done twice, nothing half done is taken, and every failure says what it was."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from pocketcrafter.export.builder.child import StageError
from pocketcrafter.export.builder.runner import in_order, missing_stages, run
from pocketcrafter.export.builder.stage import Estimate, Stage, imported_modules
from pocketcrafter.export.builder.store import Store
from pocketcrafter.runtime.errors import GateError, PocketCrafterError
from pocketcrafter.runtime.files import BusyError

MakeStage = Callable[..., Stage]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    path = tmp_path / "calls"
    path.touch()
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "stages")


@pytest.fixture
def make(functions: ModuleType, calls: Path) -> MakeStage:
    def stage(name: str, inputs: Mapping[str, Path | Stage] | None = None, function: str = "write") -> Stage:
        settings = functions.Settings(text=name, calls=str(calls))
        return Stage(name, f"stage_functions:{function}", inputs or {}, settings, (), Estimate(1, 1, 1))

    return stage


@pytest.fixture
def diamond(make: MakeStage, tmp_path: Path) -> Stage:
    """One file, a stage that reads it, two that read that stage, one that reads both."""
    (tmp_path / "weights").write_text("w")
    first = make("first", {"weights": tmp_path / "weights"})
    return make("last", {"left": make("left", {"f": first}), "right": make("right", {"f": first})})


def test_every_stage_runs_once_after_what_it_needs(diamond: Stage, store: Store, calls: Path) -> None:
    result = run(diamond, store)
    assert (result / "r").read_text() == "last(left(first(w)),right(first(w)))"
    first, *middle, last = calls.read_text().split()
    assert (first, sorted(middle), last) == ("first", ["left", "right"], "last")


def test_a_second_run_does_nothing_and_is_fast(diamond: Stage, store: Store, calls: Path) -> None:
    first = run(diamond, store)
    started = time.monotonic()
    assert run(diamond, store) == first
    assert time.monotonic() - started < 0.5
    assert len(calls.read_text().split()) == 4


def test_a_changed_input_reruns_all_that_depends_on_it_and_nothing_else(
    make: MakeStage, store: Store, tmp_path: Path, calls: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)

    def graph() -> Stage:
        return make("last", {"a": make("of_a", {"i": tmp_path / "a"}), "b": make("of_b", {"i": tmp_path / "b"})})

    run(graph(), store)
    (tmp_path / "a").write_text("changed")
    calls.write_text("")
    assert (run(graph(), store) / "r").read_text() == "last(of_a(changed),of_b(b))"
    assert calls.read_text().split() == ["of_a", "last"]


def test_an_input_written_again_with_the_same_content_reruns_nothing(
    diamond: Stage, store: Store, tmp_path: Path
) -> None:
    run(diamond, store)
    (tmp_path / "weights").write_text("w")
    assert missing_stages(diamond, store) == []


def test_a_result_that_was_changed_or_lost_is_made_again(diamond: Stage, store: Store) -> None:
    run(diamond, store)
    left = next(s for s in in_order(diamond) if s.name == "left")
    folder = store.result(left)
    assert folder is not None
    (folder / "r").write_text("tampered")
    (run(diamond, store) / "r").write_text("tampered")
    assert [s.name for s in missing_stages(diamond, store)] == ["left", "last"]
    assert (run(diamond, store) / "r").read_text() == "last(left(first(w)),right(first(w)))"
    (folder / "r").unlink()
    shutil.rmtree(store.root / diamond.key())
    assert [s.name for s in missing_stages(diamond, store)] == ["left", "last"]


def test_what_an_intact_result_was_made_from_is_not_needed_any_more(diamond: Stage, store: Store, calls: Path) -> None:
    result = run(diamond, store)
    for stage in in_order(diamond)[:-1]:
        shutil.rmtree(store.root / stage.key())
    calls.write_text("")
    assert missing_stages(diamond, store) == []
    assert run(diamond, store) == result
    assert calls.read_text() == ""


def test_an_input_that_changes_while_its_stage_runs_is_seen_by_the_next_build(
    make: MakeStage, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "i").write_text("old")
    stage = make("it", {"i": tmp_path / "i"})
    key = stage.key()
    (tmp_path / "i").write_text("newer")
    assert run(stage, store).name == key
    assert [s.name for s in missing_stages(make("it", {"i": tmp_path / "i"}), store)] == ["it"]


def test_a_directory_that_merely_exists_is_not_a_result(diamond: Stage, store: Store) -> None:
    for stage in in_order(diamond):
        (store.root / stage.key()).mkdir(parents=True)
        (store.root / stage.key() / "r").write_text("x")
    assert len(missing_stages(diamond, store)) == 4


def test_gate_misses_are_told_together_and_independent_stages_still_run(
    make: MakeStage, store: Store, calls: Path
) -> None:
    good = make("good")
    bad = [make(name, {"g": good}, function="miss") for name in ("one", "two")]
    last = make("last", {"a": bad[0], "b": bad[1], "c": make("other", {"g": good})})
    with pytest.raises(GateError) as caught:
        run(last, store)
    assert "one: 18 dB is below one" in str(caught.value)
    assert "two: 18 dB is below two" in str(caught.value)
    assert caught.value.exit_code == 1
    assert calls.read_text().split() == ["good", "other"]
    assert str(caught.value).index("one:") < str(caught.value).index("two:")


def test_an_expected_error_keeps_its_message_and_exit_code(make: MakeStage, store: Store) -> None:
    with pytest.raises(PocketCrafterError, match="bad it") as caught:
        run(make("it", function="refuse"), store)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("function", "words"), [("crash", "ZeroDivisionError: surprise"), ("killed", "want of memory")]
)
def test_a_crash_names_the_log_and_leaves_no_result(make: MakeStage, store: Store, function: str, words: str) -> None:
    stage = make("it", function=function)
    with pytest.raises(StageError, match=words) as caught:
        run(stage, store)
    log = store.root / "logs" / "it.log"
    assert str(log) in str(caught.value)
    assert ("ZeroDivisionError" in log.read_text()) == (function == "crash")
    assert store.result(stage) is None
    assert not list(store.root.glob("*.tmp"))


def test_what_a_stage_prints_goes_to_its_log(make: MakeStage, store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    run(make("it"), store)
    assert capfd.readouterr().out == ""
    assert "noise on stdout" in (store.root / "logs" / "it.log").read_text()


def test_progress_grows_to_the_whole(diamond: Stage, store: Store) -> None:
    seen: list[tuple[int, int]] = []
    run(diamond, store, lambda _what, done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (4, 4)


def test_an_interrupted_build_goes_on_where_it_stopped(
    make: MakeStage, store: Store, calls: Path, tmp_path: Path
) -> None:
    """A real build process is killed, with no chance to clean up, while its second stage runs."""
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path / "modules")!r})
from pathlib import Path
import stage_functions
from pocketcrafter.export.builder.runner import run
from pocketcrafter.export.builder.stage import imported_modules
from pocketcrafter.export.builder.stage import Estimate, Stage
from pocketcrafter.export.builder.store import Store
def make(name, inputs, function):
    settings = stage_functions.Settings(text=name, calls={str(calls)!r})
    return Stage(name, "stage_functions:" + function, inputs, settings, (), Estimate(1, 1, 1))
if __name__ == "__main__":
    run(make("second", {{"f": make("first", {{}}, "write")}}, "hang"), Store(Path({str(store.root)!r})))
"""
    script = tmp_path / "build.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)])  # noqa: S603
    deadline = time.monotonic() + 30
    while "second" not in calls.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(store.root.glob("*.tmp"))
    first = make("first")
    assert [s.name for s in missing_stages(make("second", {"f": first}), store)] == ["second"]
    assert (run(make("second", {"f": first}), store) / "r").read_text() == "second(first())"
    assert calls.read_text().split().count("first") == 1
    assert not list(store.root.glob("*.tmp"))


def test_two_builds_in_one_store_do_not_mix(make: MakeStage, store: Store) -> None:
    fcntl = pytest.importorskip("fcntl")
    store.root.mkdir(parents=True)
    with (store.root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="another process"):
            run(make("it"), store)


def test_measured_cost_replaces_the_estimate(make: MakeStage, store: Store) -> None:
    stage = make("it")
    assert store.estimate(stage) == Estimate(1, 1, 1)
    run(stage, store)
    measured = store.estimate(stage)
    assert measured.ram_mib > 5
    assert measured.seconds < 30
    record = store.record(stage)
    assert record is not None
    assert record.cpu_seconds is not None
    assert 0 < record.cpu_seconds < record.seconds + 1


def test_old_results_are_pruned_but_never_those_in_use(make: MakeStage, store: Store, tmp_path: Path) -> None:
    for index in range(7):
        (tmp_path / "i").write_text(str(index))
        stage = make("it", {"i": tmp_path / "i"})
        run(stage, store)
    assert store.result(stage) is not None
    assert len([p for p in store.root.iterdir() if (p / "stage.json").exists()]) == 4


def test_what_is_imported_for_type_checkers_alone_is_not_run() -> None:
    """The package names its whole public interface for them; each of its modules would run all of it otherwise."""
    assert imported_modules("pocketcrafter.runtime.errors") == {
        "pocketcrafter",
        "pocketcrafter.runtime",
        "pocketcrafter.runtime.errors",
    }


KEY_OF_LOWER = """
import sys
from pocketcrafter.export.builder.stage import imported_modules, source_hash
module = "pocketcrafter.export.builder.steps.prove"
sys.stdout.write(source_hash(module) + " " + " ".join(sorted(imported_modules(module))))
"""


def test_a_key_follows_the_source_that_a_stage_runs_and_no_other(tmp_path: Path) -> None:
    import pocketcrafter  # noqa: PLC0415

    tree = tmp_path / "pocketcrafter"
    shutil.copytree(Path(pocketcrafter.__file__).parent, tree, ignore=shutil.ignore_patterns("*.safetensors", "*.jpg"))

    def look() -> tuple[str, list[str]]:
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", KEY_OF_LOWER], env=environment, capture_output=True, text=True, check=True
        )
        sha256, *modules = done.stdout.split()
        return sha256, modules

    before, modules = look()
    assert "pocketcrafter.runtime.bundle.verify" in modules
    assert "pocketcrafter.export.builder.cli" not in modules
    for path, matters in (("export/builder/cli.py", False), ("runtime/bundle/verify.py", True)):
        with (tree / path).open("a") as file:
            file.write("\n# changed\n")
        after, _ = look()
        assert (after != before) == matters
        before = after
