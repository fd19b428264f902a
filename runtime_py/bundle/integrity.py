"""What can be wrong with a bundle's files, found without running anything.

What an unchanged large file hashed to when it was last read is remembered: it is not read again to be hashed.
"""

import contextlib
import hashlib
import json
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST, MAX_MANIFEST_BYTES, RESERVED, FileEntry
from pocketcrafter.runtime.errors import BundleError, StorageError
from pocketcrafter.runtime.files import write_text

_BLOCK = 1 << 20
_CLUTTER: Final = frozenset({"__macosx", ".ds_store", "thumbs.db", "desktop.ini"})
_APPLE_DOUBLE: Final = "._"
LARGE_BYTES: Final = 32 << 20
"""From here on a hash is kept for later processes; below, hashing costs less than looking it up is worth."""
HASHES: Final = "hashes.json"
"""In the user's cache."""
_MOST_KEPT: Final = 256
SETTLED_NS: Final = 2_000_000_000
"""Clocks of file systems tick as slowly as this: a younger file may change without its times telling it."""


class DamagedBundleError(BundleError):
    """A bundle's files are not what its manifest says; ``problems`` has one sentence for each fault."""

    def __init__(self, where: Path, problems: list[str]) -> None:
        listed = "\n".join(f"  {p}" for p in problems)
        super().__init__(
            f"{where}: the bundle is damaged:\n{listed}\nNothing was run. Copy the bundle again, or build it again."
        )
        self.problems = tuple(problems)


def sha256_of(path: Path, progress: Callable[[int], None] = lambda _: None) -> str:
    """Return a file's SHA-256 in lowercase hex; ``progress`` is told the bytes of each block read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()


def digest_text(manifest: bytes) -> bytes:
    """Return what `manifest.sha256` holds for a manifest."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def read_manifest_bytes(root: Path) -> bytes:
    """Read `manifest.json` and compare it with `manifest.sha256`.

    Raises
    ------
    BundleError
        If one is missing, not a plain file, or the two do not agree.
    """
    contents = []
    for name, limit in ((MANIFEST, MAX_MANIFEST_BYTES), (DIGEST, 4096)):
        path = root / name
        if problem := _not_plain(root, name):
            raise BundleError(f"{root}: {problem} A bundle is a directory or zip that `pocketcrafter build` made.")
        if (size := path.stat().st_size) > limit:
            raise DamagedBundleError(root, [f"`{name}` has {size} bytes; at most {limit} are legal."])
        contents.append(path.read_bytes())
    manifest, digest = contents
    if digest != digest_text(manifest):
        raise DamagedBundleError(root, [f"`{MANIFEST}` and `{DIGEST}` do not agree: one of them was changed."])
    return manifest


def structure_problems(root: Path, files: tuple[FileEntry, ...]) -> list[str]:
    """Return what is missing, not a plain file inside the bundle, or of another size; reads no content."""
    problems = []
    for entry in files:
        if problem := _not_plain(root, entry.path):
            problems.append(problem)
        elif (size := (root / entry.path).stat().st_size) != entry.size:
            problems.append(f"`{entry.path}` has {size} bytes; the manifest says {entry.size}.")
    return problems


def is_clutter(path: str) -> bool:
    """Whether a path in a bundle is one that Finder or Explorer leaves behind; such files are never looked at."""
    return any(p.casefold() in _CLUTTER or p.startswith(_APPLE_DOUBLE) for p in PurePosixPath(path).parts)


def extra_files(root: Path, files: tuple[FileEntry, ...]) -> list[str]:
    """Return a sentence for everything in the bundle that the manifest does not list, but for clutter."""
    listed = {f.path for f in files} | RESERVED
    extra = (path for path in sorted(_walk(root)) if path not in listed and not is_clutter(path))
    return [f"`{path}` is not in the manifest." for path in extra]


def content_problems(root: Path, files: tuple[FileEntry, ...], progress: Callable[[int], None]) -> list[str]:
    """Return the files whose content does not hash to what the manifest says; ``progress`` is told the bytes read.

    Parameters
    ----------
    root
        The open bundle's folder.
    files
        The manifest's entries.
    progress
        Called with the bytes read since the last call.
    """
    changed = [f for f in files if sha256_of(root / f.path, progress) != f.sha256]
    return [changed_file(f.path) for f in changed]


def changed_file(path: str) -> str:
    """Return the sentence for a file whose content is not the manifest's."""
    return f"`{path}` was changed: its SHA-256 is not the manifest's."


def _not_plain(root: Path, path: str) -> str | None:
    current = root
    for part in path.split("/"):
        current = current / part
        try:
            mode = current.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return f"`{path}` is missing."
        if stat.S_ISLNK(mode):
            return f"`{path}` is or lies behind a symbolic link; a bundle holds plain files only."
    return None if stat.S_ISREG(mode) else f"`{path}` is not a plain file."


def _walk(root: Path) -> Iterator[str]:
    for path in root.rglob("*"):  # follows no symbolic link, but lists each one
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(root).as_posix()


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
