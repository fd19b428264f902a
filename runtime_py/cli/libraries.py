"""What libraries log, warn and print on their own account: a file of the user's cache, or standard error if asked for.

torch, torchao, onnx and coremltools tell of kernels that they lack and of what they are about to deprecate. Nobody who
enhances a photo or builds a bundle can do anything about it, and it buries what the command itself says.
"""

import contextlib
import logging
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.files import user_cache

LOG_NAME: Final = "libraries.log"
_MOST_BYTES: Final = 4 << 20
"""A larger log is begun anew."""
_FORMAT: Final = "%(levelname)s %(name)s: %(message)s"


def log_path() -> Path:
    """Return where it goes unless it is shown."""
    return user_cache() / LOG_NAME


def divert() -> None:
    """Send what libraries and child processes print, log and warn from now on into the log.

    Standard output and error of this program must not be the file descriptors 1 and 2 (see `streams.open_streams`).
    Where the cache cannot be written, all is shown.
    """
    path = log_path()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists() or path.stat().st_size > _MOST_BYTES
        log = path.open("w" if fresh else "a", encoding="utf-8", errors="backslashreplace")
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        _collect(logging.StreamHandler(log))
        words = shlex.join(["pocketcrafter", *sys.argv[1:]])
        print(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')} {words}", file=log, flush=True)


def show() -> None:
    """Show on standard error what libraries log and warn from now on."""
    _collect(logging.StreamHandler())


def _collect(handler: logging.Handler) -> None:
    handler.setLevel(logging.INFO)  # torch traces by DEBUG records to a handler of its own
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.raiseExceptions = False  # a log that is full is no concern of the command's
    logging.root.addHandler(handler)
    logging.setLoggerClass(_LibraryLogger)
    logging.captureWarnings(capture=True)


class _LibraryLogger(logging.Logger):
    """Hands records to the root's handlers alone, whatever handlers of its own a library gives it."""

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name in `logging`
        for handler in self.root.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)
