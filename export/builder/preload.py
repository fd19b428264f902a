"""Preloads in the fork server the modules that all stages import, so that they are imported once a build."""

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
    """Discard what libraries print while they are imported, and leave Ctrl-C to the build's main process."""
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
            # The stage that needs the module reports the failure with more context.
            with contextlib.suppress(Exception):
                importlib.import_module(module)
    # A garbage collection in a stage would copy the pages that all of them share.
    gc.freeze()


_import([name for name in os.environ.pop(PRELOAD, "").split(",") if name])
