"""Standard output and error as they are: in any encoding, full, or left by their reader."""

import codecs
import io
import os
import sys
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
