"""What can be wrong with a bundle's files, found without running anything."""

import hashlib
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST, MAX_MANIFEST_BYTES, RESERVED, FileEntry
from pocketcrafter.runtime.errors import BundleError

_BLOCK = 1 << 20
_CLUTTER: Final = frozenset({"__macosx", ".ds_store", "thumbs.db", "desktop.ini"})
_APPLE_DOUBLE: Final = "._"


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
