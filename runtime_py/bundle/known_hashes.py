"""What files hashed to when they were last read: an unchanged large file is not read again to be hashed."""

import contextlib
import json
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, Self

from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.errors import StorageError
from pocketcrafter.runtime.files import write_text

LARGE_BYTES: Final = 32 << 20
"""From here on a hash is kept for later processes; below, hashing costs less than looking it up is worth."""
HASHES: Final = "hashes.json"
"""In the user's cache."""
_MOST_KEPT: Final = 256
SETTLED_NS: Final = 2_000_000_000
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

    def is_of(self, path: Path) -> bool:
        """Whether a file still is the one that had this stamp, unchanged."""
        try:
            return Stamp.of(path) == self
        except OSError:
            return False

    @property
    def settled(self) -> bool:
        """Whether a later change is sure to leave another stamp."""
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > SETTLED_NS

    @property
    def key(self) -> str:
        """The stamp as text."""
        return "-".join(map(str, astuple(self)))


class KnownHashes:
    """Hashes of files, each worked out once; those of large ones are shared with later processes.

    Parameters
    ----------
    store
        The file that keeps them, `HASHES` in the user's cache, or `None` to keep none. It may be lost at any time, and
        need not be writable.
    """

    def __init__(self, store: Path | None) -> None:
        self._store = store
        self._seen: dict[Stamp, str] = {}

    def sha256(self, path: Path) -> tuple[str, Stamp]:
        """Return a file's SHA-256 in lowercase hex, and the stamp that it had before it was read.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        stamp = Stamp.of(path)
        store = self._store if stamp.size > LARGE_BYTES else None
        if (known := self._seen.get(stamp)) or (store and (known := _read(store).get(stamp.key))):
            self._seen[stamp] = known
            return known, stamp
        digest = sha256_of(path)
        if stamp.settled and stamp.is_of(path):
            self._seen[stamp] = digest
            if store:
                _add(store, stamp.key, digest)
        return digest, stamp


def _read(store: Path) -> dict[str, str]:
    try:
        found = json.loads(store.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _add(store: Path, key: str, digest: str) -> None:
    entries = [*((k, v) for k, v in _read(store).items() if k != key), (key, digest)]
    with contextlib.suppress(StorageError):  # without the cache the file is hashed again
        write_text(store, json.dumps(dict(entries[-_MOST_KEPT:])))
