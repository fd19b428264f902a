"""The files of an Android package, whatever holds them: a folder, an APK or an Android App Bundle."""

import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from pocketcrafter.runtime.errors import ConfigError

_LOCAL_HEADER: Final = 30
_MOST_ENTRIES: Final = 200_000
_MOST_BYTES: Final = 4 << 30
_MOST_READ: Final = 1 << 30
"""Of one file, which is read whole."""


class PackageKind(StrEnum):
    """What holds the files."""

    FOLDER = "folder"
    APK = "apk"
    AAB = "aab"


@dataclass(frozen=True)
class Entry:
    """One file; ``offset`` is where its bytes start in the archive, `None` for compressed ones and those of folders."""

    name: str
    size: int
    packed_size: int
    offset: int | None


class Package:
    """A package that is open.

    Parameters
    ----------
    path
        A folder, an APK or an AAB.

    Raises
    ------
    ConfigError
        If it is none of them, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        if path.is_dir():
            self.kind, self.entries = PackageKind.FOLDER, _of_folder(path)
            return
        kinds = {f".{kind}": kind for kind in (PackageKind.APK, PackageKind.AAB)}
        if path.suffix.lower() not in kinds:
            raise ConfigError(f"{path}: neither a folder, an .apk nor an .aab.")
        self.kind = kinds[path.suffix.lower()]
        try:
            self._archive = zipfile.ZipFile(path)
            self.entries = _of_archive(self._archive, path)
        except (OSError, zipfile.BadZipFile, struct.error) as error:
            raise ConfigError(f"{path}: not a whole {self.kind}: {error}") from error

    def read(self, entry: Entry, limit: int | None = None) -> bytes:
        """Return a file's content.

        Parameters
        ----------
        entry
            One of `entries`.
        limit
            Bytes to read, from the first on; all of them when not given.

        Raises
        ------
        ConfigError
            If it is damaged, cannot be read, or is too large to be read whole.
        """
        if limit is None and entry.size > _MOST_READ:
            raise ConfigError(f"{self.path}: {entry.name} has {entry.size} bytes; no file of an app is so large.")
        try:
            if self._archive is None:
                with (self.path / entry.name).open("rb") as stream:
                    return stream.read(-1 if limit is None else limit)
            with self._archive.open(entry.name) as stream:
                return stream.read(-1 if limit is None else limit)
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
            raise ConfigError(f"{self.path}: {entry.name} cannot be read: {error}") from error
        except Exception as error:  # zlib's error shares no base class with the others
            raise ConfigError(f"{self.path}: {entry.name} is damaged: {error}") from error

    def named(self, *names: str) -> list[Entry]:
        """Return the files with one of some names, in any folder."""
        return [entry for name, entry in self.entries.items() if PurePosixPath(name).name in names]

    def ending(self, suffix: str) -> list[Entry]:
        """Return the files whose name ends so, in any folder."""
        return [entry for name, entry in self.entries.items() if name.endswith(suffix)]


def _of_folder(path: Path) -> Mapping[str, Entry]:
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.is_symlink():
            name = file.relative_to(path).as_posix()
            size = file.stat().st_size
            found[name] = Entry(name, size, size, None)
            if len(found) > _MOST_ENTRIES:
                raise ConfigError(f"{path}: more than {_MOST_ENTRIES} files; name the folder of one app.")
    return found


def _of_archive(archive: zipfile.ZipFile, path: Path) -> Mapping[str, Entry]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > _MOST_ENTRIES or sum(info.file_size for info in infos) > _MOST_BYTES:
        raise ConfigError(f"{path}: it unpacks to more than {_MOST_BYTES >> 30} GiB or {_MOST_ENTRIES} files.")
    if unsafe := [
        name for info in infos if (name := info.filename).startswith("/") or ".." in PurePosixPath(name).parts
    ]:
        raise ConfigError(f"{path}: {unsafe[0]} would be unpacked outside of it; no build tool writes that.")
    found = {}
    with path.open("rb") as stream:
        for info in infos:
            offset = None
            if info.compress_type == zipfile.ZIP_STORED:
                stream.seek(info.header_offset + 26)
                name, extra = struct.unpack("<HH", stream.read(4))
                offset = info.header_offset + _LOCAL_HEADER + name + extra
            found[info.filename] = Entry(info.filename, info.file_size, info.compress_size, offset)
    return found
