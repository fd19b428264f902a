"""The photos of a folder by their content: each counts once, however often and under what names it is there."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from pocketcrafter.export.data.candidates import PHOTO_SUFFIXES
from pocketcrafter.export.data.errors import DataError
from pocketcrafter.export.data.manifest import file_sha256
from pocketcrafter.export.labels.store import part_name
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.files import replacing

INDEX_FILE: Final = "index.parquet"
_COLUMNS: Final = pa.schema(
    [("path", pa.string()), ("size", pa.int64()), ("changed_ns", pa.int64()), ("sha256", pa.string())]
)


@dataclass(frozen=True)
class Found:
    """A file of photos: where it is below their folder, its size and when it was changed."""

    path: str
    size: int
    changed_ns: int


class Shard(Config):
    """Photos that a worker does at once.

    Attributes
    ----------
    name
        Of the part that they become.
    paths, hashes
        Of the photos.
    """

    name: str
    paths: tuple[str, ...]
    hashes: tuple[str, ...]


def photos_in(folder: Path) -> list[Found]:
    """Return the photos of a folder and of those in it, hidden ones left out, in a fixed order.

    Parameters
    ----------
    folder
        Of photos.

    Raises
    ------
    DataError
        If there are none.
    """
    found = sorted(_walked(folder, ""), key=lambda photo: photo.path)
    if not found:
        raise DataError(f"{folder}: holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))})")
    return found


def known_hashes(out: Path, photos: Sequence[Found]) -> dict[str, str]:
    """Return the hashes of an earlier run, by path, of photos that have not changed since.

    Parameters
    ----------
    out
        Folder of the index.
    photos
        Those that are there now.
    """
    path = out / INDEX_FILE
    if not path.is_file():
        return {}
    had = {(row["path"], row["size"], row["changed_ns"]): row["sha256"] for row in pq.read_table(path).to_pylist()}
    return {p.path: had[key] for p in photos if (key := (p.path, p.size, p.changed_ns)) in had}


def write_index(out: Path, photos: Sequence[Found], hashes: dict[str, str]) -> None:
    """Keep the hashes for the next run.

    Parameters
    ----------
    out
        Folder of the index.
    photos
        Those that are there.
    hashes
        By path.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    known = [photo for photo in photos if photo.path in hashes]
    columns = {
        "path": [photo.path for photo in known],
        "size": [photo.size for photo in known],
        "changed_ns": [photo.changed_ns for photo in known],
        "sha256": [hashes[photo.path] for photo in known],
    }
    with replacing(out / INDEX_FILE) as temporary:
        pq.write_table(pa.table(columns, schema=_COLUMNS), temporary)


def hashed(folder: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the hashes of files, by path; of those that cannot be read, an empty text.

    Parameters
    ----------
    folder, paths
        The photos' folder, and paths below it.
    """
    return {path: file_sha256(folder / path) or "" for path in paths}


def shards_of(hashes: dict[str, str], done: set[str], size: int) -> list[Shard]:
    """Divide what is left to do into shards, each content once.

    Parameters
    ----------
    hashes
        By path; an empty one is left out.
    done
        Hashes of what is done.
    size
        Photos of a shard.
    """
    first: dict[str, str] = {}
    for path in sorted(hashes):
        first.setdefault(hashes[path], path)
    left = iter(sorted((digest, path) for digest, path in first.items() if digest and digest not in done))
    shards = []
    while some := list(islice(left, size)):
        digests = tuple(digest for digest, _ in some)
        shards.append(Shard(name=part_name(digests), paths=tuple(path for _, path in some), hashes=digests))
    return shards


def _walked(folder: Path, below: str) -> Iterator[Found]:
    try:
        entries = list(os.scandir(folder / below))
    except OSError as error:
        raise DataError(f"{folder / below}: cannot be read ({error.strerror})") from error
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walked(folder, path)
        elif Path(entry.name).suffix.lower() in PHOTO_SUFFIXES and entry.is_file():
            about = entry.stat()
            yield Found(path, about.st_size, about.st_mtime_ns)
