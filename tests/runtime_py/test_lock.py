"""Two processes that would write to one place."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pocketcrafter.runtime.errors import StorageError
from pocketcrafter.runtime.files import BusyError, only_writer

pytest.importorskip("fcntl")

_HOLD = (
    "import sys, pathlib\n"
    "from pocketcrafter.runtime.files import only_writer\n"
    "with only_writer(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def _holder(output: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(  # noqa: S603 - Python itself
        [sys.executable, "-c", _HOLD, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_told_who_writes_and_may_when_that_one_is_done(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out.pcbundle"
    process = _holder(output)
    with (
        pytest.raises(BusyError, match=rf"out\.pcbundle: another process \(number {process.pid}\)") as caught,
        only_writer(output),
    ):
        pass
    assert caught.value.exit_code == 2
    with only_writer(tmp_path / "deep" / "other.pcbundle"):
        pass
    process.communicate("")
    with only_writer(output):
        assert [p.name for p in output.parent.iterdir()] == [".out.pcbundle.lock"]
    assert not list(output.parent.iterdir())


def test_what_a_killed_process_left_hinders_nobody(tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = _holder(output)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert (tmp_path / ".out.lock").is_file()
    with only_writer(output):
        pass
    assert not list(tmp_path.iterdir())


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=r"file/\.out\.lock: cannot be written"),
        only_writer(tmp_path / "file" / "out"),
    ):
        pass
