"""What was measured so far, kept on disk line by line, so that a measurement that was stopped goes on where it was."""

import io
from pathlib import Path
from typing import IO, Final, Generic, Never, Self, TypeVar

from pydantic import ValidationError

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import writing

H = TypeVar("H", bound=Config)
L = TypeVar("L", bound=Config)

_NEWLINE: Final = b"\n"


class LineJournal(Generic[H, L]):
    """A file of JSON lines: a head that says what is measured, then a line for each measurement.

    A line that was not written to its end is dropped when the file is opened.

    Parameters
    ----------
    path
        The file, begun where there is none; without one the lines are kept in memory alone.
    head
        What is measured. Lines of another measurement are not mixed in.
    line
        What a line holds.
    command
        The command that keeps it, for errors.
    most_bytes
        A larger file is not read.

    Raises
    ------
    ConfigError
        If the file cannot be opened, is damaged, or is that of another measurement.
    """

    def __init__(self, path: Path | None, head: H, line: type[L], command: str, most_bytes: int) -> None:
        self._command, self._path = command, path or Path("memory")
        self._stream: IO[bytes] = io.BytesIO()
        self.lines: list[L] = []
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            if path.stat().st_size > most_bytes:
                raise ConfigError(f"{path}: larger than {most_bytes >> 20} MiB; no measurement is.")
            data = path.read_bytes()
            self.lines = self._read(path, data, head, line)
            stream = path.open("r+b")
            stream.truncate(data.rfind(_NEWLINE) + 1)
            stream.seek(0, io.SEEK_END)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be opened: {error.strerror}") from error
        self._stream = stream
        if _NEWLINE not in data:
            self._write(head)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, line: L) -> None:
        """Keep a measurement."""
        self.lines.append(line)
        self._write(line)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _read(self, path: Path, data: bytes, head: H, line: type[L]) -> list[L]:
        first, *rest = data.split(_NEWLINE)
        try:
            if not rest:
                # Nothing but a beginning of our own first line may be written over.
                return [] if _bytes(head).startswith(first) else self._refuse(path)
            if type(head).model_validate_json(first) != head:
                raise ConfigError(f"{path} is of another measurement; remove it, or name another file.")
            return [line.model_validate_json(one) for one in rest[:-1]]
        except ValidationError:
            self._refuse(path)

    def _write(self, line: Config) -> None:
        with writing(self._path):
            self._stream.write(_bytes(line))
            self._stream.flush()

    def _refuse(self, path: Path) -> Never:
        raise ConfigError(f"{path} is no journal of `{self._command}`; remove it, or name another file.")


def _bytes(line: Config) -> bytes:
    return line.model_dump_json().encode() + _NEWLINE
