"""What libraries print, log and warn: into a file of the user's cache, or shown on demand; never among the results."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pocketcrafter.runtime.cli.streams import LOG_NAME

NOISY = """
import logging, os, subprocess, sys, warnings
from importlib.metadata import EntryPoint
import click
from pocketcrafter.runtime.cli import group, main

@click.command()
def noisy():
    logger = logging.getLogger("somelibrary.kernels")
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False
    logger.warning("no kernel")
    logger.debug("a trace")
    logging.getLogger("another").error("no device")
    warnings.warn("soon deprecated")
    for descriptor in (1, 2):
        os.write(descriptor, b"from C\\n")
        subprocess.run([sys.executable, "-c", f"import os; os.write({descriptor}, b'from a child\\\\n')"], check=True)
    click.echo("result")
    click.echo("told", err=True)

group.entry_points = lambda **_: [EntryPoint("noisy", "__main__:noisy", group.ENTRY_POINTS)]
main()
"""
SAID = ("WARNING somelibrary.kernels: no kernel", "ERROR another: no device", "UserWarning: soon deprecated")


def call(cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", NOISY, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "pocketcrafter" / LOG_NAME


def test_only_the_commands_own_words_are_seen(tmp_path: Path, log: Path) -> None:
    for _ in range(2):
        done = call(tmp_path, "noisy")
        assert (done.returncode, done.stdout, done.stderr) == (0, "result\n", "told\n")
    kept = log.read_text()
    for said in (*SAID, "from C", "from a child"):
        assert kept.count(said) >= 2
    assert "a trace" not in kept
    assert kept.count("pocketcrafter noisy") == 2


def test_all_is_shown_on_demand(tmp_path: Path, log: Path) -> None:
    done = call(tmp_path, "noisy", "--verbose")
    assert done.returncode == 0
    assert all(said in done.stderr for said in (*SAID, "from C", "from a child", "told"))
    assert not log.exists()


def test_help_writes_nothing(tmp_path: Path, log: Path) -> None:
    assert call(tmp_path, "noisy", "--help").returncode == 0
    assert not log.exists()


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = call(tmp_path / "file", "noisy")
    assert done.returncode == 0
    assert "result" in done.stdout
    assert "told" in done.stderr


def test_a_log_that_has_grown_large_is_begun_anew(tmp_path: Path, log: Path) -> None:
    log.parent.mkdir()
    log.write_bytes(bytes(5 << 20))
    assert call(tmp_path, "noisy").returncode == 0
    assert log.stat().st_size < 10_000


EXECUTORCH = """
from pathlib import Path
from pocketcrafter.runtime.backends.executorch import ExecutorchBackend
from pocketcrafter.runtime.cli.streams import divert
from pocketcrafter.runtime.cli.streams import open_streams
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import BackendError

open_streams()
divert()
tensor = TensorSpec(name="x", shape=(1,), semantics="anything")
spec = ComponentSpec(name="x", role=Role.EDIT, inputs=(tensor,), outputs=(tensor,))
try:
    ExecutorchBackend().open(Path("none.pte"), spec, threads=1)
except BackendError:
    print("refused")
"""


def test_what_executorch_logs_into_pythons_own_streams_goes_into_the_log_too(tmp_path: Path, log: Path) -> None:
    pytest.importorskip("executorch")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", EXECUTORCH]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")
    assert "threadpool.cpp" in log.read_text()
