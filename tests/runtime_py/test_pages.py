"""Weights in large pages."""

import mmap
import sys
from pathlib import Path

import pytest

from pocketcrafter.runtime.backends.pages import in_large_pages

_HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_SIZE = 64 << 20


def _large_kib() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("AnonHugePages")))


@pytest.mark.skipif(
    sys.platform != "linux" or not _HUGE.is_file() or "[always]" in _HUGE.read_text(), reason="no choice of pages here"
)
def test_large_weights_lie_in_large_pages_and_small_ones_as_before() -> None:
    kept = []
    for size, least, most in ((1 << 20, 0, 0), (_SIZE, _SIZE >> 11, _SIZE >> 10)):
        before = _large_kib()
        with in_large_pages(size):
            kept.append(mmap.mmap(-1, _SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            kept[-1].write(bytes([7]) * _SIZE)
        assert least <= _large_kib() - before <= most
    assert all(pages[:: _SIZE - 1] == bytes([7, 7]) for pages in kept)
