"""What is fuzzed: one entry for each format that comes from strangers, in modules imported when they are asked for."""

import contextlib
import importlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.common.names import Format
from pocketcrafter.benchmarks.fuzz.containers import with_right_checksums
from pocketcrafter.runtime.errors import PocketCrafterError

_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory, where files cost no disk
_MODULES: Final[Mapping[str, Sequence[Format]]] = {
    "pictures": (Format.JPEG, Format.PNG, Format.WEBP, Format.HEIC, Format.AVIF),
    "beside": (
        Format.JPEG_SEGMENTS,
        Format.PNG_CHUNKS,
        Format.WEBP_CHUNKS,
        Format.EXIF,
        Format.XMP,
        Format.IPTC,
        Format.ICC,
        Format.CODE_POINTS,
    ),
    "texts": (Format.CRITIQUE, Format.PLAN, Format.MANIFEST, Format.TOKENIZER),
    "builds": (Format.RECIPE, Format.SAFETENSORS),
}


class BrokenPromiseError(Exception):
    """What was read is not what its reader promises; like every error that is not PocketCrafter's, a finding."""


@dataclass(frozen=True)
class Target:
    """A reader, and what it is fed.

    Attributes
    ----------
    read
        Reads content; raises `PocketCrafterError` where that is none of this format, and nothing else.
    seeds
        Makes sound content, of which mutations are derived.
    most_cpu_s, most_mib
        The most time and additional memory that reading anything may take. Pictures of 105 megapixels may be a few
        bytes long.
    """

    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    most_cpu_s: float = 2.0
    most_mib: float = 512.0


def target_of(name: Format) -> Target:
    """Return the target of a format."""
    module = next(module for module, formats in _MODULES.items() if name in formats)
    targets: Mapping[Format, Target] = importlib.import_module(f"{__package__}.{module}").TARGETS
    return targets[name]


def hold(promise: bool, what: str) -> None:
    """Check that a promise is held.

    Raises
    ------
    BrokenPromiseError
        If it is not; with what was promised.
    """
    if not promise:
        raise BrokenPromiseError(what)


def with_sound_checksums(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Make a reader of PNGs read what is given, and then the same with checksums that fit."""

    def read_both(content: bytes) -> None:
        with contextlib.suppress(PocketCrafterError):
            read(content)
        read(with_right_checksums(content))

    return read_both


def on_disk(content: bytes, name: str) -> Path:
    """Put content into a file, for readers that take no bytes; each name is one file, which is overwritten."""
    path = _folder() / name
    path.write_bytes(content)
    return path


@cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="pocketcrafter-fuzz-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None)
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: Final[list["tempfile.TemporaryDirectory[str]"]] = []
"""Until the process ends."""
