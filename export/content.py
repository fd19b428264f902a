"""What results depend on by content: files, folders, and those files of a folder that are read."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pocketcrafter.runtime.bundle.integrity import HASHES, KnownHashes
from pocketcrafter.runtime.files import user_cache


@dataclass(frozen=True)
class FolderFiles:
    """A folder of which only some files count: a checkpoint may lie beside other forms of itself."""

    folder: Path
    files: tuple[Path, ...]
    """In the folder."""


def content_hash(content: Path | FolderFiles) -> str:
    """Return a hash of a file's content, or of the names and contents of a folder's files.

    A large file is read once and known by its stamp from then on, in later processes too.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    if isinstance(content, FolderFiles):
        return _hash_of(content.folder, content.files)
    if content.is_file():
        return _hashes().sha256(content)[0]
    return _hash_of(content, (path for path in content.rglob("*") if path.is_file()))


def _hash_of(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{content_hash(file)}\n".encode())
    return digest.hexdigest()


@cache
def _hashes() -> KnownHashes:
    return KnownHashes(user_cache() / HASHES)
