"""Work in a process of its own: what it tells, how it fails, and that it never outlives who asked."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pocketcrafter.runtime.backends.processes import StandingProcess, call_process
from pocketcrafter.runtime.errors import BackendError, GateError

_HEAD = """
import os, sys
from pathlib import Path
from pocketcrafter.runtime.backends.processes import run_job
from pocketcrafter.runtime.errors import GateError, PocketCrafterError
def work(folder, tell):
"""
_TAIL = "\nsys.exit(run_job(work))\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "job"
    made.mkdir()
    return made


Call = Callable[[str], list[tuple[int, int]]]


@pytest.fixture
def call(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run the body of a `work(folder, tell)` in a process; return the progress that it told."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))

    def run(body: str) -> list[tuple[int, int]]:
        (tmp_path / "child_work.py").write_text(_HEAD + "\n".join(f"    {line}" for line in body.split("\n")) + _TAIL)
        heard: list[tuple[int, int]] = []
        call_process(
            "child_work",
            folder,
            Path("net.pte"),
            "The engine",
            environment={"WANTED": "here"},
            progress=lambda done, total: heard.append((done, total)),
        )
        return heard

    return run


def test_progress_arrives_and_prints_do_not_disturb_it(call: Call, folder: Path) -> None:
    body = "tell(1, 2)\nos.write(1, b'9 9\\n')\ntell(2, 2)\n(folder / 'made').write_text(os.environ['WANTED'])"
    assert call(body) == [(1, 2), (2, 2)]
    assert (folder / "made").read_text() == "here"


def test_a_missed_gate_stays_one(call: Call) -> None:
    with pytest.raises(GateError, match=r"^3 dB$"):
        call("raise GateError('3 dB')")


def test_any_other_failure_names_the_subject_the_engine_and_the_place(call: Call) -> None:
    with pytest.raises(BackendError, match=r"net\.pte: The engine failed: ValueError: no shape \(in work, child_work"):
        call("raise ValueError('no shape')")


def test_a_process_that_dies_is_told_with_its_last_words(call: Call) -> None:
    with pytest.raises(BackendError, match=r"(?s)ended with code -6.*cannot go on"):
        call("os.write(2, b'cannot go on')\nos.abort()")


_FORK = "from pocketcrafter.runtime.backends.processes import in_a_fork\n"


def test_a_part_done_in_a_copy_leaves_files_and_nothing_else(call: Call, folder: Path) -> None:
    kept = "kept = []\nin_a_fork(lambda: (kept.append(1), (folder / 'made').write_text('here')), folder)\n"
    call(f"{_FORK}{kept}assert not kept")
    assert (folder / "made").read_text() == "here"


@pytest.mark.parametrize(
    ("does", "error", "message"),
    [
        ("raise GateError('3 dB')", GateError, r"^3 dB$"),
        (
            "raise ValueError('no shape')",
            BackendError,
            r"The engine failed: ValueError: no shape \(in part, child_work",
        ),
        ("os.abort()", BackendError, "ended with code -6"),
    ],
)
def test_a_copy_fails_as_the_job_itself_would(call: Call, does: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(f"{_FORK}def part():\n    {does}\nin_a_fork(part, folder)")


@pytest.fixture
def stand(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], StandingProcess]]:
    """Start a process that says it is ready, and does this for each order."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    started: list[StandingProcess] = []

    def start(order: str) -> StandingProcess:
        head = _HEAD.replace("import run_job", "import orders, run_job")
        loop = f"    for done, order in enumerate(orders(), start=1):\n        {order}\n        tell(done, done)"
        (tmp_path / "standing_work.py").write_text(f"{head}    tell(0, 0)\n{loop}{_TAIL}")
        started.append(StandingProcess("standing_work", folder, Path("net.pte"), "The engine"))
        return started[-1]

    yield start
    for process in started:
        process.end()


def test_a_standing_process_does_what_it_is_asked_in_one_process(
    stand: Callable[[str], StandingProcess], folder: Path
) -> None:
    process = stand("(folder / str(order)).write_text(str(os.getpid()))")
    for order in (3, 4, 5):
        process.ask(order)
        assert (folder / str(order)).exists()
    pids = {(folder / str(order)).read_text() for order in (3, 4, 5)}
    assert len(pids) == 1
    process.end()
    assert not Path(f"/proc/{pids.pop()}").exists()


def test_a_standing_process_that_fails_says_why_each_time(stand: Callable[[str], StandingProcess]) -> None:
    process = stand("raise ValueError('no shape')")
    for _ in range(2):
        with pytest.raises(BackendError, match=r"net\.pte: The engine failed: ValueError: no shape"):
            process.ask(0)


def test_a_standing_process_that_dies_is_told_with_its_last_words(stand: Callable[[str], StandingProcess]) -> None:
    process = stand("os.write(2, b'cannot go on'); os.abort()")
    with pytest.raises(BackendError, match=r"(?s)ended with code -6.*cannot go on"):
        process.ask(0)


def test_the_process_ends_with_whoever_asked(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "sleeper.py").write_text(
        f"{_HEAD}    import time\n    (folder / 'pid').write_text(str(os.getpid()))\n    time.sleep(60){_TAIL}"
    )
    asks = (
        "from pathlib import Path; from pocketcrafter.runtime.backends.processes import call_process; "
        f"call_process('sleeper', Path({str(folder)!r}), Path('x'), 'x')"
    )
    command = [sys.executable, "-c", asks]
    asker = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(tmp_path)})  # noqa: S603 - written above
    pid = folder / "pid"
    deadline = time.monotonic() + 20
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(pid.read_text())
    asker.kill()
    asker.wait()
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()
