import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketcrafter.export.data import rcc
from pocketcrafter.export.data.errors import ResourceFileError
from pocketcrafter.export.data.rcc import ResourceFile

Encode = Callable[..., bytes]
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

folder_names = st.sampled_from(["src", "é", "图", "resource"])
file_names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0"), min_size=1, max_size=8).map(
    lambda text: f"f{text}.bin"
)
paths = st.builds(lambda folders, name: "/".join([*folders, name]), st.lists(folder_names, max_size=3), file_names)
trees = st.dictionaries(paths, st.binary(max_size=200), max_size=12)


@quick
@given(files=trees, version=st.sampled_from([1, 2, 3]), compress=st.booleans())
def test_every_member_comes_back_as_it_was_stored(
    make_resource_file: Encode, files: dict[str, bytes], version: int, compress: bool
) -> None:
    opened = ResourceFile(make_resource_file(files, version=version, compress=compress))
    assert {name: opened.read(name) for name in opened.names} == files


@quick
@given(data=st.data())
def test_damage_is_a_typed_error_or_goes_unnoticed_but_nothing_else(
    make_resource_file: Encode, data: st.DataObject
) -> None:
    good = make_resource_file({"a/b.txt": b"hello" * 9, "c.txt": b"x"}, compress=data.draw(st.booleans()))
    bad = bytearray(good[: data.draw(st.integers(0, len(good)))])
    for _ in range(data.draw(st.integers(0, 6)) if bad else 0):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ResourceFileError):
        opened = ResourceFile(bytes(bad))
        for name in opened.names:
            assert ".." not in name.split("/")
            with suppress(ResourceFileError):
                opened.read(name)


def test_a_name_that_leaves_the_folder_is_refused(make_resource_file: Encode) -> None:
    with pytest.raises(ResourceFileError, match="not a usable file name"):
        ResourceFile(make_resource_file({"../evil.txt": b"x"}))


def test_a_directory_that_contains_itself_is_refused() -> None:
    root = struct.pack(">IHII", 0, 2, 1, 0) + bytes(8)
    with pytest.raises(ResourceFileError, match="reached twice"):
        ResourceFile(b"qres" + struct.pack(">IIII", 2, 20, 42, 42) + root)


def test_a_directory_with_four_billion_children_is_refused_at_once() -> None:
    root = struct.pack(">IHII", 0, 2, 0xFFFFFFFF, 1) + bytes(8)
    with pytest.raises(ResourceFileError, match="entries"):
        ResourceFile(b"qres" + struct.pack(">IIII", 2, 20, 42, 42) + root)


def test_a_stream_that_goes_on_beyond_its_promise_is_refused(make_resource_file: Encode) -> None:
    data = make_resource_file({"bomb": bytes(1_000_000)}, compress=True)
    honest = struct.pack(">I", 1_000_000) + zlib.compress(bytes(1_000_000))[:8]
    lying = ResourceFile(data.replace(honest, struct.pack(">I", 10) + honest[4:]))
    with pytest.raises(ResourceFileError, match="10 bytes it promises"):
        lying.read("bomb")


def test_zstandard_is_named_in_the_refusal(make_resource_file: Encode) -> None:
    opened = ResourceFile(make_resource_file({"z": b"abcd"}, version=3, flags=4))
    with pytest.raises(ResourceFileError, match="Zstandard"):
        opened.read("z")


def test_a_file_that_is_no_resource_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "photo.rcc"
    path.write_bytes(b"\xff\xd8\xff\xe0 not a resource file")
    with pytest.raises(ResourceFileError, match=r"photo\.rcc.*not a compiled Qt resource file"):
        ResourceFile.open(path)


def test_an_oversized_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rcc, "MAX_FILE_BYTES", 10)
    path = tmp_path / "large.rcc"
    path.write_bytes(b"qres" + bytes(20))
    with pytest.raises(ResourceFileError, match="larger than"):
        ResourceFile.open(path)
