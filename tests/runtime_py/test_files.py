"""Files are replaced whole or left alone, and nothing temporary stays behind."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pocketcrafter.runtime.errors import StorageError
from pocketcrafter.runtime.files import allocate, replacing, write_bytes, write_text
from pocketcrafter.runtime.photo import Photo, encode


def test_a_file_is_replaced_at_the_end_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/a.svg"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".svg"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_halfway_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * (os.pathconf(tmp_path, "PC_NAME_MAX") - 4) + ".txt")
    write_text(path, "ä")
    assert path.read_bytes() == "ä".encode()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot be written: (Not a directory|File exists)"):
        write_bytes(tmp_path / "file/a.txt", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot be written: Is a directory"):
        write_bytes(tmp_path / "folder", b"")


# A place with too little room


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file of this process may grow beyond this many bytes; the system says so with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:  # noqa: S603
        pytest.skip("only root may mount a file system of its own")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)  # noqa: S603, S607


NOISE = np.random.default_rng(0).integers(0, 256, (320, 400, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".heic", ".avif"])
def test_a_photo_is_written_whole_or_refused_at_every_64_kib(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    encode(Photo(NOISE), path)
    content = path.read_bytes()
    assert len(content) > 64 << 10
    for limit in range(0, len(content), 64 << 10):
        for before in (None, b"old"):
            path.unlink(missing_ok=True)
            if before is not None:
                path.write_bytes(before)
            with limited(limit), pytest.raises(StorageError, match=rf"`ulimit -f`.*: {len(content)} bytes needed"):
                encode(Photo(NOISE), path)
            assert [p.read_bytes() for p in tmp_path.iterdir()] == [before] * (before is not None)
    with limited(len(content)):
        encode(Photo(NOISE), path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", [300_000, 260_000])
def test_a_full_disk_is_told_with_what_is_needed_and_nothing_stays(size: int, small_disk: Path) -> None:
    write_bytes(small_disk / "small.bin", b"x" * 4096)
    with pytest.raises(StorageError, match=rf"large\.bin: the disk is full: {size} bytes needed, \d+ free"):
        write_bytes(small_disk / "large.bin", os.urandom(size))
    assert [p.name for p in small_disk.iterdir()] == ["small.bin"]


def test_a_folder_that_does_not_fit_leaves_the_old_one(small_disk: Path) -> None:
    def make(content: bytes) -> None:
        with replacing(small_disk / "a.pcbundle") as fresh:
            fresh.mkdir()
            for name in "xyz":
                (fresh / name).write_bytes(content)

    make(b"old")
    make(b"newer")
    with pytest.raises(StorageError, match="the disk is full"):
        make(os.urandom(100_000))
    assert [p.name for p in small_disk.iterdir()] == ["a.pcbundle"]
    assert {p.read_bytes() for p in (small_disk / "a.pcbundle").iterdir()} == {b"newer"}


def test_room_for_a_mapped_file_is_reserved_or_refused(small_disk: Path) -> None:
    (small_disk / "map.npy").touch()
    allocate(small_disk / "map.npy", 100_000)
    assert (small_disk / "map.npy").stat().st_blocks * 512 >= 100_000
    with pytest.raises(StorageError, match="the disk is full: 1000000 bytes needed"):
        allocate(small_disk / "map.npy", 1_000_000)


def test_the_next_write_clears_up_after_a_killed_process(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from pocketcrafter.runtime.files import replacing
with replacing(Path({str(tmp_path / "a.jpg")!r})) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL  # noqa: S603
    assert len(list(tmp_path.iterdir())) == 1
    write_bytes(tmp_path / "b.jpg", b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["b.jpg"]
