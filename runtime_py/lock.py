"""A lock beside what is written: of two processes with one output the first goes on, and the second is told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pocketcrafter.runtime.errors import PocketCrafterError
from pocketcrafter.runtime.files import storage_error

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
