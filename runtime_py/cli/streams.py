"""Standard output and error as they are (in any encoding, full, or left by their reader), and libraries kept off them.

torch, torchao, onnx and coremltools tell of kernels that they lack and of what they are about to deprecate. Nobody who
enhances a photo or builds a bundle can do anything about it, and it buries what the command itself says: it goes to a
file of the user's cache, or to standard error if asked for.
"""

import codecs
import contextlib
import io
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from pocketcrafter.runtime.errors import StorageError
from pocketcrafter.runtime.files import storage_error, user_cache

_ESCAPES: Final = "pocketcrafter.escapes"
LOG_NAME: Final = "libraries.log"
_MOST_BYTES: Final = 4 << 20
"""A larger log is begun anew."""
_FORMAT: Final = "%(levelname)s %(name)s: %(message)s"


class OutputError(StorageError):
    """Standard output cannot be written."""


class ReaderLeftError(Exception):
    """Whoever read standard output has closed it, as ``head`` does; there is nobody to tell."""


def open_streams() -> None:
    r"""Make standard output and error of this process take every text, and tell how writing to them failed.

    They get file descriptors of their own: what libraries print to 1 and 2 can be sent elsewhere.

    What an encoding does not have, bytes of file names that are no UTF-8 included, is written as ``\uXXXX``, which
    leaves JSON valid.
    """
    codecs.register_error(_ESCAPES, _escaped)
    sys.stdout, sys.stderr = _text(_Output, sys.stdout), _text(_Errors, sys.stderr)


def silence() -> None:
    """Drop what standard output still holds: it cannot be written, and Python would try once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class Watched:
    """Standard output, and whether anything was written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.written = False

    def write(self, text: str, /) -> int:
        """Write text to the stream."""
        # A failure is noticed only when the stream is flushed: what was tried counts.
        self.written |= bool(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)


@contextlib.contextmanager
def watched_output() -> Iterator[Watched]:
    """Watch standard output while the context lasts."""
    watched = Watched(sys.stdout)
    with contextlib.redirect_stdout(watched):
        yield watched


class _Output(io.FileIO):
    def write(self, data: Any, /) -> int:  # noqa: ANN401 - whatever has a buffer
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise ReaderLeftError from error
        except OSError as error:
            raise OutputError(str(storage_error("standard output", error, memoryview(data).nbytes))) from error


class _Errors(io.FileIO):
    """Work goes on where its warnings cannot be told; the exit code tells."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - as above
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _text(raw: type[io.FileIO], stream: Any) -> TextIO:  # noqa: ANN401 - typeshed does not know closed streams
    if stream is None:  # closed before the process began
        return open(os.devnull, "w", encoding="utf-8", errors=_ESCAPES)  # noqa: PTH123
    return io.TextIOWrapper(
        io.BufferedWriter(raw(os.dup(stream.fileno()), "wb")),
        stream.encoding,
        errors=_ESCAPES,
        line_buffering=stream.line_buffering or stream.write_through,
    )


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)), error.end


def log_path() -> Path:
    """Return where it goes unless it is shown."""
    return user_cache() / LOG_NAME


def divert() -> None:
    """Send what libraries and child processes print, log and warn from now on into the log.

    Standard output and error of this program must not be the file descriptors 1 and 2 (see :func:`open_streams`).
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
