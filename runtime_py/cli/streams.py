"""Standard output and error as they are: in any encoding, full, or left by their reader."""

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

from pocketcrafter.runtime.errors import StorageError
from pocketcrafter.runtime.files import storage_error

_ESCAPES: Final = "pocketcrafter.escapes"


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
