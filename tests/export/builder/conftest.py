"""Small real stages: functions of a module that is written for the test, run in real child processes."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = """
import os, time
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError, GateError

class Settings(Config):
    text: str = ""
    calls: str = ""

def _count(settings):
    with open(settings.calls, "a") as file:
        file.write(settings.text + "\\n")

def write(inputs, settings, out, progress):
    _count(settings)
    parts = [next(p for p in sorted(i.iterdir()) if p.name == "r").read_text() if i.is_dir() else i.read_text()
             for i in inputs.values()]
    progress(1, 2)
    print("noise on stdout")
    (out / "r").write_text(settings.text + "(" + ",".join(parts) + ")")

def miss(inputs, settings, out, progress):
    raise GateError("18 dB is below " + settings.text)

def refuse(inputs, settings, out, progress):
    raise ConfigError("bad " + settings.text)

def crash(inputs, settings, out, progress):
    raise ZeroDivisionError("surprise")

def killed(inputs, settings, out, progress):
    (out / "half").write_text("half")
    os.kill(os.getpid(), 9)

def span(inputs, settings, out, progress):
    _count(Settings(text="start", calls=settings.calls))
    time.sleep(0.3)
    _count(Settings(text="end", calls=settings.calls))
    (out / "r").write_text("")

def meet(inputs, settings, out, progress):
    _count(settings)
    deadline = time.monotonic() + 30
    while len(open(settings.calls).read().split()) < 2:
        if time.monotonic() > deadline:
            raise GateError("nobody came")
        time.sleep(0.01)
    (out / "r").write_text("")

def threads(inputs, settings, out, progress):
    import torch
    (out / "r").write_text(str(torch.get_num_threads()))

def surroundings(inputs, settings, out, progress):
    (out / "r").write_text(os.environ.get("WANTED", "") + " " + os.getcwd())

def hang(inputs, settings, out, progress):
    _count(settings)
    (out / "half").write_text("half")
    time.sleep(600)
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "stage_functions.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("stage_functions", None)
    yield importlib.import_module("stage_functions")
    sys.modules.pop("stage_functions", None)
