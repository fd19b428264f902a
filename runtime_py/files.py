"""Files and folders that appear whole or not at all, and errors that say why one could not be written.

Everything is written under a temporary name beside its place, flushed to the device, and renamed. Encoders write to
memory where they can: given a file, some native ones take a short write for a success.

A lock beside an output tells the second of two writers.
"""

import ctypes
import errno
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Final

from pocketcrafter.runtime.errors import PocketCrafterError, StorageError

_LONGEST_STEM: Final = 40
"""Characters kept of a name, so that a temporary name is never too long where the name itself is not."""
FAILURES: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than its file system, or the limit of this process (`ulimit -f`), allows",
    errno.EIO: "the storage device failed",
}
"""How storage fails, whatever is done with it."""
_HOST: Final = f"{zlib.crc32(os.fsencode(os.uname().nodename if hasattr(os, 'uname') else '')):08x}"
"""Process numbers are one machine's own, and a folder may be shared by several."""
_AT_FDCWD: Final = -100
_EXCHANGE: Final = 2
_LEFTOVER: Final = re.compile(rf"\..*\.{_HOST}-(\d+)\.tmp(\..*)?", re.DOTALL)


def identities(path: Path) -> set[object]:
    """Return what a file is known by: its real path and, where it exists, its device and number.

    Files are told apart by what they are, not by what they are called: links and foldings of case included.
    """
    found: set[object] = {os.path.realpath(path)}
    with suppress(OSError):
        about = path.stat()
        found.add((about.st_dev, about.st_ino))
    return found


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file; neither need exist."""
    return not identities(one).isdisjoint(identities(other))


def storage_error(path: Path | str, error: OSError, needed: int | None = None) -> StorageError:
    """Say why something cannot be written there, and how many bytes it needs where that is known.

    Parameters
    ----------
    path
        What was written.
    error
        What the system said.
    needed
        Bytes that the file needs, if known; named where the disk is full.
    """
    reason = FAILURES.get(error.errno or 0)
    if reason is None:
        return StorageError(f"{path}: cannot be written: {error.strerror or error}")
    free = _free_bytes(Path(path)) if error.errno == errno.ENOSPC else None
    room = [f"{needed} bytes needed"] if needed is not None else []
    room += [f"{free} free"] if free is not None else []
    advice = "Check the device." if error.errno == errno.EIO else "Make room, or choose another place."
    return StorageError(f"{path}: {reason}{': ' if room else ''}{', '.join(room)}. {advice}")


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn a failure of the system inside the block into a `StorageError` that names what was to be written.

    Parameters
    ----------
    path
        What is written.
    needed
        Bytes that it needs, if known.

    Raises
    ------
    StorageError
        If the system refuses to write.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(path, error, needed) from error


@contextmanager
def replacing(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Give a temporary name beside a file or folder; what is made there takes its place when the block ends well.

    Parameters
    ----------
    path
        The file or folder; its parent is made where there is none. What is there already stays until the end, and
        whole.
    needed
        Bytes that are going to be written, for errors; where not given, they are not told.

    Yields
    ------
    Path
        A name of this process's own in the same folder, with the same ending, as some writers go by that.

    Raises
    ------
    StorageError
        If it cannot be written; nothing is left under the temporary name, and what was there before is as it was.
    """
    with writing(path, needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
    temporary = path.with_name(f".{path.stem[:_LONGEST_STEM]}.{_HOST}-{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with writing(path, needed):
            move(temporary, path)
    except OSError as error:
        if error.errno in FAILURES or error.filename == str(temporary):
            raise storage_error(path, error, needed) from error
        raise
    finally:
        remove(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is made where there is none.

    Raises
    ------
    StorageError
        If it cannot be written there.
    """
    with replacing(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode())


def user_cache() -> Path:
    """Return the user's folder for what can be made again; it need not be there."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(chosen) if Path(chosen).is_absolute() else Path("~/.cache").expanduser()) / "pocketcrafter"


def move(made: Path, path: Path) -> None:
    """Flush a finished file or folder to the device and give it its name, on the same file system.

    A folder that is there already changes places with the new one in one step, where the system can do that: it lies
    under the other name then.
    """
    _flush(made)
    if not (made.is_dir() and path.is_dir()):
        made.replace(path)
    elif not _exchanged(made, path):
        old = path.with_name(f".{path.name}.old")
        remove(old)
        path.replace(old)
        try:
            made.replace(path)
        except OSError:
            old.replace(path)
            raise
        remove(old)
    _flush_names(path.parent)


def remove(path: Path) -> None:
    """Remove a file, or a folder and all in it, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def allocate(path: Path, size: int) -> None:
    """Reserve the disk space of a file that is going to be memory-mapped.

    A mapped file is sparse otherwise: the disk would be found full in the middle of a store to memory, which ends the
    process.

    Raises
    ------
    StorageError
        If there is not enough.
    """
    with writing(path, size), path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


def printable(name: Path | str) -> str:
    r"""Return a file name as text that every encoder takes: bytes that are no UTF-8 become escapes such as ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _flush(path: Path) -> None:
    if path.is_dir():
        for inside in path.iterdir():
            if not inside.is_symlink():
                _flush(inside)
        _flush_names(path)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_names(folder: Path) -> None:
    """Flush a folder's names, where the file system has that operation for folders."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # files may be put into it, but it may not be read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)


def _exchanged(one: Path, other: Path) -> bool:
    """Have two folders change their names in one step; false where this system or file system cannot."""
    if os.name != "posix":
        return False
    names = os.fsencode(one), os.fsencode(other)
    for name, arguments in (
        ("renameat2", (_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)),  # Linux
        ("renamex_np", (*names, _EXCHANGE)),  # macOS
    ):
        if (function := getattr(ctypes.CDLL(None), name, None)) is not None:
            return int(function(*arguments)) == 0
    return False


@cache
def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes of this machine left in a folder; looked for once, as it may hold many files."""
    if os.name != "posix":  # where a process cannot be asked whether it lives
        return
    with suppress(PermissionError):  # as above
        for entry in os.scandir(folder):
            if (match := _LEFTOVER.fullmatch(entry.name)) and not _lives(int(match[1])):
                remove(Path(entry.path))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path if path.is_dir() else path.parent).free
    except OSError:
        return None


try:
    import fcntl
except ImportError:  # no advisory locks on this system
    fcntl = None  # type: ignore[assignment]


class BusyError(PocketCrafterError):
    """Another process writes to the same place."""


@contextmanager
def only_writer(output: Path, lock: Path | None = None) -> Iterator[None]:
    """Be the only process that writes a file or folder, until the block ends.

    The system frees the lock with its process, however that ends: what a killed process left behind hinders nobody.
    Where a system has no advisory locks, there is none.

    Parameters
    ----------
    output
        What is written; it need not be there.
    lock
        A file that is there as long as the lock is held; ``.<name>.lock`` beside the output when not given. Its folder
        is made where there is none.

    Raises
    ------
    BusyError
        If another process holds the lock.
    StorageError
        If the file cannot be made.
    """
    if fcntl is None:
        yield
        return
    lock = lock or output.with_name(f".{output.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = _locked(lock, output)
    except OSError as error:
        raise storage_error(lock, error) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # before it is freed: whoever has opened this file too finds that it is gone
        held.close()


def _locked(lock: Path, output: Path) -> IO[str]:
    while True:
        file = lock.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, file):
                file.truncate(0)
                print(os.getpid(), file=file, flush=True)
                return file
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read(20).strip() or "unknown"
            file.close()
            raise BusyError(
                f"{output}: another process (number {holder}) is writing there; wait for it, end it, or choose another "
                "place."
            ) from error
        file.close()


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether an open file is still the one of that name: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
