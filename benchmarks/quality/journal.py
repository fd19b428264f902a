"""Frames measured so far, kept on disk, so that a measurement that was stopped goes on where it was."""

import io
from pathlib import Path
from typing import Final, Never, Self

from pydantic import Field, ValidationError

from pocketcrafter.benchmarks.frames import FrameKey, FrameKind
from pocketcrafter.benchmarks.quality.pictures import FrameQuality, Name
from pocketcrafter.benchmarks.quality.results import MAX_RESULT_BYTES
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError

_NEWLINE: Final = b"\n"


class JournalHead(Config):
    """What is measured: the first line. Frames of another measurement are not mixed in."""

    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    split: Split
    seed: int
    photos: tuple[Name, ...]
    kinds: tuple[FrameKind, ...]
    per_photo: int
    peers: tuple[Name, ...]
    features: bool
    brisque: bool
    backend: str
    threads: int


class Journal:
    """A file of JSON lines: a `JournalHead`, then a `FrameQuality` for each frame that was measured.

    A line that was not written to its end is dropped when the file is opened.
    """

    def __init__(self, stream: io.BufferedRandom, done: dict[FrameKey, FrameQuality]) -> None:
        self._stream = stream
        self.done = done

    @classmethod
    def open(cls, path: Path, head: JournalHead) -> Self:
        """Open a journal, or begin one where there is none.

        Raises
        ------
        ConfigError
            If it cannot be opened, is damaged, or is that of another measurement.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            if path.stat().st_size > MAX_RESULT_BYTES:
                raise ConfigError(f"{path}: larger than {MAX_RESULT_BYTES >> 20} MiB; no measurement is.")
            data = path.read_bytes()
            done = cls._read(path, data, head)
            stream = path.open("r+b")
            stream.truncate(data.rfind(_NEWLINE) + 1)
            stream.seek(0, io.SEEK_END)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be opened: {error.strerror}") from error
        journal = cls(stream, done)
        if _NEWLINE not in data:
            journal._write(head)
        return journal

    @staticmethod
    def _read(path: Path, data: bytes, head: JournalHead) -> dict[FrameKey, FrameQuality]:
        first, *lines = data.split(_NEWLINE)
        try:
            if not lines:
                # Nothing but a beginning of our own first line may be written over.
                return {} if _line(head).startswith(first) else _refuse(path)
            if JournalHead.model_validate_json(first) != head:
                raise ConfigError(f"{path} holds frames of another measurement; remove it, or name another file.")
            measured = [FrameQuality.model_validate_json(line) for line in lines[:-1]]
        except ValidationError:
            _refuse(path)
        return {quality.key: quality for quality in measured}

    def add(self, quality: FrameQuality) -> None:
        """Keep a frame's figures."""
        self._write(quality)
        self.done[quality.key] = quality

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _write(self, line: Config) -> None:
        self._stream.write(_line(line))
        self._stream.flush()


def _line(line: Config) -> bytes:
    return line.model_dump_json().encode() + _NEWLINE


def _refuse(path: Path) -> Never:
    raise ConfigError(f"{path} is no journal of `bench quality`; remove it, or name another file.")
