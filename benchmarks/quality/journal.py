"""Frames measured so far, kept on disk, so that a measurement that was stopped goes on where it was."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pocketcrafter.benchmarks.journal import LineJournal
from pocketcrafter.benchmarks.names import FrameKind
from pocketcrafter.benchmarks.quality.pictures import FrameQuality, Name
from pocketcrafter.benchmarks.quality.results import MAX_RESULT_BYTES
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.runtime.config import Config

if TYPE_CHECKING:
    from pocketcrafter.benchmarks.frames import FrameKey


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
    """Measured frames: a `LineJournal` of a `JournalHead` and a `FrameQuality` for each frame.

    Parameters
    ----------
    path
        The file; without one the frames are kept in memory alone.
    head
        What is measured.

    Raises
    ------
    ConfigError
        As `LineJournal` does.
    """

    def __init__(self, path: Path | None, head: JournalHead) -> None:
        self._lines = LineJournal(path, head, FrameQuality, "bench quality", MAX_RESULT_BYTES)
        self.done: dict[FrameKey, FrameQuality] = {quality.key: quality for quality in self._lines.lines}

    def add(self, quality: FrameQuality) -> None:
        """Keep a frame's figures."""
        self._lines.append(quality)
        self.done[quality.key] = quality

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
