"""What files hashed to when they were last read: an unchanged large file is not read again to be hashed."""

import contextlib
import json
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, Self

from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.errors import StorageError
from pocketcrafter.runtime.files import user_cache, write_text

LARGE_BYTES: Final = 32 << 20
"""From here on a hash is kept for later processes; below, hashing costs less than looking it up is worth."""
_STORE: Final = "hashes.json"
_MOST_KEPT: Final = 256
_SETTLED_NS: Final = 2_000_000_000
"""Clocks of file systems tick as slowly as this: a younger file may change without its times telling it."""


@dataclass(frozen=True)
class Stamp:
    """What changes when a file's content is changed; the change time cannot be set by a program, unlike the other."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Take a file's stamp; raises `OSError` if there is no such file."""
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)

    @property
    def settled(self) -> bool:
        """Whether a later change is sure to leave another stamp."""
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > _SETTLED_NS

    @property
    def key(self) -> str:
        """The stamp as text."""
        return "-".join(map(str, astuple(self)))


class KnownHashes:
    """Hashes of files, each worked out once; those of large ones are shared with later processes.

    Parameters
    ----------
    keep
        Whether the user's cache is read and written. What is in it may be lost at any time, and need not be writable.
    """

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._seen: dict[Stamp, str] = {}

    def sha256(self, path: Path) -> tuple[str, Stamp]:
        """Return a file's SHA-256 in lowercase hex, and the stamp that it had before it was read.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        stamp = Stamp.of(path)
        kept = self._keep and stamp.size > LARGE_BYTES
        if (known := self._seen.get(stamp)) or (kept and (known := _stored().get(stamp.key))):
            self._seen[stamp] = known
            return known, stamp
        digest = sha256_of(path)
        if stamp.settled and Stamp.of(path) == stamp:
            self._seen[stamp] = digest
            if kept:
                _store(stamp.key, digest)
        return digest, stamp


def _stored() -> dict[str, str]:
    try:
        found = json.loads((user_cache() / _STORE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _store(key: str, digest: str) -> None:
    entries = [*((k, v) for k, v in _stored().items() if k != key), (key, digest)]
    with contextlib.suppress(StorageError):  # without the cache the file is hashed again
        write_text(user_cache() / _STORE, json.dumps(dict(entries[-_MOST_KEPT:])))
