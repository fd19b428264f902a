"""Large pages of memory for weights that every run reads from beginning to end."""

import ctypes
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PAGE_BITS: Final = 21
"""Of a large page, 2 MiB, on x86-64 and on ARM with small pages of 4 KiB."""
_COLLAPSE: Final = 25
"""``MADV_COLLAPSE`` of Linux 6.1's `mman-common.h`."""
_LEAST: Final = 32 << 20
"""Bytes of weights that are read from memory each time: smaller ones stay in the processor's caches."""


@contextmanager
def in_large_pages(size: int) -> Iterator[None]:
    """Have Linux put what is allocated inside the context into large pages, where it is about large weights.

    A step of a language model reads each weight once, as fast as memory gives it; with small pages a tenth of the time
    goes into translating addresses. What Linux cannot put into large pages stays as it is.

    Parameters
    ----------
    size
        Bytes of the weights.
    """
    if sys.platform != "linux" or size < _LEAST:
        yield
        return
    before = {page for start, end in _writable() for page in range(start >> _PAGE_BITS, -(-end >> _PAGE_BITS))}
    yield
    libc = ctypes.CDLL(None)
    for page in _pages(_writable()):
        if page not in before:
            libc.madvise(ctypes.c_void_p(page << _PAGE_BITS), ctypes.c_size_t(1 << _PAGE_BITS), _COLLAPSE)


def _pages(areas: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Return the numbers of large pages that lie in areas as a whole."""
    for start, end in areas:
        yield from range(-(-start >> _PAGE_BITS), end >> _PAGE_BITS)


def _writable() -> list[tuple[int, int]]:
    """Return where this process's own writable memory lies, as starts and ends."""
    found = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        area, mode, _, _, inode, *name = line.split()
        if mode == "rw-p" and inode == "0" and name in ([], ["[heap]"]):
            start, end = (int(side, 16) for side in area.split("-"))
            found.append((start, end))
    return found
