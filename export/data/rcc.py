"""Reads compiled Qt resource files (``.rcc``), versions 1 to 3, without Qt."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pocketcrafter.export.data.errors import ResourceFileError

MAX_ENTRIES: Final = 65_536
MAX_DEPTH: Final = 32
MAX_FILE_BYTES: Final = 256 * 2**20
MAX_MEMBER_BYTES: Final = 64 * 2**20

_MAGIC: Final = b"qres"
_HEADER: Final = struct.Struct(">IIII")
_ENTRY: Final = struct.Struct(">IHII")
_NAME: Final = struct.Struct(">HI")
_SIZE: Final = struct.Struct(">I")
_MODIFIED_BYTES: Final = 8  # since version 2 every entry ends with a modification time

_COMPRESSED: Final = 0x01
_DIRECTORY: Final = 0x02
_ZSTANDARD: Final = 0x04


@dataclass(frozen=True)
class _Entry:
    name: str
    flags: int
    first: int  # a directory: number of children; a file: locale
    second: int  # a directory: index of the first child; a file: offset of its data


class ResourceFile:
    """One opened resource file: its member names in tree order, and their bytes on request.

    Parameters
    ----------
    data
        The whole file.
    origin
        What to call the file in messages.

    Raises
    ------
    ResourceFileError
        If the header, the tree or a name is damaged, or a limit of this module is passed.
    """

    def __init__(self, data: bytes, origin: str = "resource file") -> None:
        self._data = data
        self._origin = origin
        if len(data) > MAX_FILE_BYTES:
            raise self._error(f"{len(data)} bytes are more than the {MAX_FILE_BYTES} that are read")
        if not data.startswith(_MAGIC):
            raise self._error("does not begin with 'qres'; it is not a compiled Qt resource file")
        version, tree, payload, names = self._unpack(_HEADER, len(_MAGIC), "header")
        if not 1 <= version <= 3:
            raise self._error(f"format version {version} is not one of 1, 2, 3")
        self._tree, self._payload, self._names = tree, payload, names
        self._stride = _ENTRY.size + (_MODIFIED_BYTES if version >= 2 else 0)
        self._members = dict(self._walk())

    @classmethod
    def open(cls, path: Path) -> "ResourceFile":
        """Read the file at ``path``.

        Raises
        ------
        ResourceFileError
            If the file cannot be read, is too large, or is damaged.
        """
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ResourceFileError(f"{path}: larger than the {MAX_FILE_BYTES} bytes that are read")
            return cls(path.read_bytes(), str(path))
        except OSError as error:
            raise ResourceFileError(f"{path}: cannot be read ({error.strerror})") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of the members, ``/``-separated, without a leading slash."""
        return tuple(self._members)

    def read(self, name: str) -> bytes:
        """Give the bytes of one member, decompressed.

        Raises
        ------
        ResourceFileError
            If there is no such member, its data is damaged, larger than ``MAX_MEMBER_BYTES``, or Zstandard-compressed.
        """
        entry = self._members.get(name)
        if entry is None:
            raise self._error(f"has no member {name!r}")
        start = self._payload + entry.second
        (size,) = self._unpack(_SIZE, start, f"size of {name!r}")
        start += _SIZE.size
        if size > MAX_MEMBER_BYTES or start + size > len(self._data):
            raise self._error(f"member {name!r} claims {size} bytes, which do not fit")
        raw = self._data[start : start + size]
        if entry.flags & _ZSTANDARD:
            raise self._error(f"member {name!r} is Zstandard-compressed; rebuild it with `rcc --compress-algo zlib`")
        return self._inflate(raw, name) if entry.flags & _COMPRESSED else raw

    def _inflate(self, raw: bytes, name: str) -> bytes:
        if len(raw) < _SIZE.size:
            raise self._error(f"member {name!r} is cut short")
        (expected,) = _SIZE.unpack_from(raw)
        if expected > MAX_MEMBER_BYTES:
            raise self._error(f"member {name!r} claims {expected} bytes when decompressed")
        try:
            # One byte more than promised shows a stream that goes on.
            data = zlib.decompressobj().decompress(raw[_SIZE.size :], expected + 1)
        except zlib.error as error:
            raise self._error(f"member {name!r} is damaged ({error})") from error
        if len(data) != expected:
            raise self._error(f"member {name!r} does not decompress to the {expected} bytes it promises")
        return data

    def _walk(self) -> Iterator[tuple[str, _Entry]]:
        visited: set[int] = set()
        pending: list[tuple[int, str, int]] = [(0, "", 0)]
        while pending:
            index, prefix, depth = pending.pop()
            if index in visited:
                raise self._error(f"tree entry {index} is reached twice")
            visited.add(index)
            entry = self._entry(index)
            if not entry.flags & _DIRECTORY:
                yield f"{prefix}{entry.name}", entry
                continue
            if depth > MAX_DEPTH or len(visited) + len(pending) + entry.first > MAX_ENTRIES:
                raise self._error(f"more than {MAX_DEPTH} levels or {MAX_ENTRIES} entries")
            inner = f"{prefix}{entry.name}/" if index else ""
            pending.extend((entry.second + k, inner, depth + 1) for k in reversed(range(entry.first)))

    def _entry(self, index: int) -> _Entry:
        offset = self._tree + index * self._stride
        name_offset, flags, first, second = self._unpack(_ENTRY, offset, f"tree entry {index}")
        return _Entry(self._name(name_offset) if index else "", flags, first, second)

    def _name(self, offset: int) -> str:
        start = self._names + offset
        length, _hash = self._unpack(_NAME, start, "name")
        start += _NAME.size
        raw = self._data[start : start + 2 * length]
        try:
            name = raw.decode("utf-16-be")
        except UnicodeDecodeError as error:
            raise self._error("a name is not UTF-16") from error
        if len(raw) != 2 * length or not name or name in {".", ".."} or set(name) & set("/\\\0"):
            raise self._error(f"{name!r} is not a usable file name")
        return name

    def _unpack(self, layout: struct.Struct, offset: int, what: str) -> tuple[int, ...]:
        try:
            return layout.unpack_from(self._data, offset)
        except struct.error as error:
            raise self._error(f"{what} lies outside the file") from error

    def _error(self, what: str) -> ResourceFileError:
        return ResourceFileError(f"{self._origin}: {what}")
