"""Imports, once, what all stages of a build import: the server that they are forked from begins with this module."""

import contextlib
import gc
import importlib
import os
import signal
from collections.abc import Iterator
from typing import Final

PRELOAD: Final = "POCKETCRAFTER_PRELOAD"
"""Environment variable that names the modules, separated by commas."""


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let libraries speak to nobody, and Ctrl-C reach the build alone."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    streams = {stream: os.dup(stream) for stream in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in streams:
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, kept in streams.items():
            os.dup2(kept, stream)
            os.close(kept)
        os.close(nowhere)
        signal.signal(signal.SIGINT, before)


def _import(modules: list[str]) -> None:
    with _undisturbed():
        for module in modules:
            # The stage that needs it says better why it cannot be imported.
            with contextlib.suppress(Exception):
                importlib.import_module(module)
    # A garbage collection in a stage would copy the pages that all of them share.
    gc.freeze()


_import([name for name in os.environ.pop(PRELOAD, "").split(",") if name])
