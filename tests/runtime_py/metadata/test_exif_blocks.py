"""EXIF blocks are patched in place: what they say holds for the new pixels, and the old thumbnail's bytes are gone."""

import io
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from pocketcrafter.runtime.photo.metadata.exif import (
    orientation_of,
    resized_exif,
    states_density,
    upright_exif,
    without_positions,
)

THUMBNAIL = b"\xff\xd8" + b"the old photo" * 20 + b"\xff\xd9"


def tiff(
    main: dict[int, tuple[int, tuple[int, ...]]],
    inner: dict[int, tuple[int, tuple[int, ...]]] | None = None,
    *,
    thumbnail: bytes = b"",
    behind: bytes = b"",
    order: str = "<",
) -> bytes:
    """Lay out a block by hand: main directory, Exif directory, thumbnail directory, thumbnail, what is behind it."""
    main = dict(main)
    inner_at = 8 + directory_bytes(main | ({0x8769: (4, (0,))} if inner else {}))
    if inner:
        main[0x8769] = (4, (inner_at,))
    after_inner = inner_at + (directory_bytes(inner) if inner else 0)
    small = {0x0103: (3, (6,)), 0x011A: (5, (72, 1)), 0x0201: (4, (0,)), 0x0202: (4, (len(thumbnail),))}
    small[0x0201] = (4, (after_inner + directory_bytes(small),))
    block = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(f"{order}I", 8)
    block += directory(main, 8, after_inner if thumbnail else 0, order)
    block += directory(inner, inner_at, 0, order) if inner else b""
    block += directory(small, after_inner, 0, order) if thumbnail else b""
    return block + thumbnail + behind


def directory_bytes(entries: dict[int, tuple[int, tuple[int, ...]]]) -> int:
    return 6 + 12 * len(entries) + sum(len(value_of(e, "<")) for e in entries.values() if len(value_of(e, "<")) > 4)


def directory(entries: dict[int, tuple[int, tuple[int, ...]]], at: int, link: int, order: str) -> bytes:
    values_at = at + 6 + 12 * len(entries)
    head, values = struct.pack(f"{order}H", len(entries)), b""
    for tag, (kind, numbers) in sorted(entries.items()):
        value = value_of((kind, numbers), order)
        head += struct.pack(f"{order}HHI", tag, kind, len(numbers) // (2 if kind == 5 else 1))
        if len(value) <= 4:
            head += value.ljust(4, b"\x00")
        else:
            head += struct.pack(f"{order}I", values_at + len(values))
            values += value
    return head + struct.pack(f"{order}I", link) + values


def value_of(entry: tuple[int, tuple[int, ...]], order: str) -> bytes:
    return struct.pack(f"{order}{len(entry[1])}{ {3: 'H', 4: 'I', 5: 'I'}[entry[0]] }", *entry[1])


def loaded(block: bytes | None) -> Image.Exif:
    """Read a block with Pillow's reader."""
    assert block is not None
    exif = Image.Exif()
    exif.load(b"Exif\x00\x00" + block)
    return exif


SIDES = {0x0100: (3, (400,)), 0x0101: (4, (300,)), 0x0112: (3, (6,))}
INNER_SIDES = {0xA002: (4, (400,)), 0xA003: (3, (300,))}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\x00\x00"])
def test_a_turned_photos_sides_are_turned_too(order: str, prefix: bytes) -> None:
    exif = loaded(upright_exif(prefix + tiff(SIDES, INNER_SIDES, order=order), 6, 300, 400))
    assert (exif[0x0100], exif[0x0101], exif[0x0112]) == (300, 400, 1)
    assert (exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003]) == (300, 400)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_resolutions_change_places_with_the_sides(orientation: int) -> None:
    block = tiff({0x011A: (5, (300, 1)), 0x011B: (5, (150, 1))}, {0xA20E: (5, (7, 1)), 0xA20F: (5, (9, 1))})
    exif = loaded(upright_exif(block, orientation, 4, 3))
    inner = exif.get_ifd(0x8769)
    turned = orientation >= 5
    assert (exif[0x011A], exif[0x011B]) == ((150, 300) if turned else (300, 150))
    assert (inner[0xA20E], inner[0xA20F]) == ((9, 7) if turned else (7, 9))


def test_a_side_that_a_short_cannot_hold_becomes_a_long() -> None:
    exif = loaded(resized_exif(tiff(SIDES, INNER_SIDES), 70_000, 65_535))
    assert (exif[0x0100], exif[0x0101]) == (70_000, 65_535)


def test_other_tags_and_maker_notes_stay_where_they_are() -> None:
    block = tiff(SIDES, INNER_SIDES | {0x9000: (4, (808_596_272,))}, behind=b"maker note with absolute offsets")
    upright = upright_exif(block, 6, 400, 300)
    assert upright is not None
    assert len(upright) == len(block)
    changed = [at for at in range(len(block)) if block[at] != upright[at]]
    assert changed == [8 + 2 + 2 * 12 + 8]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_subject_is_where_the_turned_pixels_are(orientation: int, count: int) -> None:
    """A point is marked in a stored picture; Pillow turns it, and the tag must name the marked pixel."""
    stored = Image.new("L", (40, 30))
    stored.putpixel((7, 11), 255)
    method = [None, 0, 3, 1, 5, 4, 6, 2][orientation - 1]
    turned = stored if method is None else stored.transpose(Image.Transpose(method))
    box = turned.getbbox()
    assert box is not None
    block = tiff(SIDES, {0x9214: (3, (7, 11, 4, 2)[:count]), 0xA214: (3, (7, 11))})
    inner = loaded(upright_exif(block, orientation, *turned.size)).get_ifd(0x8769)
    assert inner[0x9214][:2] == inner[0xA214] == box[:2]
    area = (4, 2)[: count - 2]
    assert inner[0x9214][2:] == (area[::-1] if orientation >= 5 else area)


def test_a_crop_takes_the_subjects_place_out_and_moves_nothing_else() -> None:
    block = tiff({}, {0x9000: (4, (5,)), 0x9214: (3, (1, 2, 3, 4)), 0xA002: (4, (9,))}, behind=b"behind")
    cropped = without_positions(block)
    inner = loaded(cropped).get_ifd(0x8769)
    assert dict(inner) == {0x9000: 5, 0xA002: 9}
    assert len(cropped) == len(block)
    assert cropped.endswith(b"behind")
    assert without_positions(cropped) == cropped


# Thumbnails


def test_a_thumbnail_at_the_end_is_cut_off() -> None:
    block = tiff(SIDES, INNER_SIDES, thumbnail=THUMBNAIL)
    with Image.open(io.BytesIO(jpeg_of(block))) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(THUMBNAIL)
    upright = upright_exif(block, 1, 400, 300)
    assert upright == upright_exif(tiff(SIDES, INNER_SIDES), 1, 400, 300)


def jpeg_of(block: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=b"Exif\x00\x00" + block)
    return file.getvalue()


def test_a_thumbnail_before_other_data_is_overwritten_and_nothing_moves() -> None:
    block = tiff(SIDES, INNER_SIDES, thumbnail=THUMBNAIL, behind=b"maker data")
    upright = upright_exif(block, 1, 400, 300)
    assert upright is not None
    assert len(upright) == len(block)
    assert b"old photo" not in upright
    assert upright.endswith(b"maker data")
    assert loaded(upright).get_ifd(ExifTags.IFD.IFD1) == {}


def test_an_uncompressed_thumbnails_strips_go_too() -> None:
    block = bytearray(tiff(SIDES, thumbnail=THUMBNAIL, behind=b"x"))
    for tag, strip in ((0x0201, 0x0111), (0x0202, 0x0117)):
        at = block.rindex(struct.pack("<HHI", tag, 4, 1))
        struct.pack_into("<H", block, at, strip)
    upright = upright_exif(bytes(block), 1, 400, 300)
    assert upright is not None
    assert b"old photo" not in upright


def test_a_thumbnail_that_claims_the_whole_block_takes_no_tags_with_it() -> None:
    block = bytearray(tiff(SIDES, INNER_SIDES, thumbnail=THUMBNAIL))
    struct.pack_into("<I", block, block.rindex(struct.pack("<HHI", 0x0201, 4, 1)) + 8, 0)
    struct.pack_into("<I", block, block.rindex(struct.pack("<HHI", 0x0202, 4, 1)) + 8, 0xFFFFFFFF)
    exif = loaded(upright_exif(bytes(block), 6, 300, 400))
    assert (exif[0x0100], exif[0x0112], exif.get_ifd(0x8769)[0xA002]) == (300, 1, 300)


# Damage


def test_bigtiff_and_what_is_no_tiff_are_refused() -> None:
    for block in (b"", b"II", b"II+\x00" + bytes(60), b"Exif\x00\x00garbage!", b"II*\x00\xff\xff\xff\xff", bytes(40)):
        assert upright_exif(block, 1, 4, 3) is None
        assert orientation_of(block) is None


def test_an_orientation_in_a_directory_that_is_cut_off_is_seen() -> None:
    block = tiff(SIDES)[: 8 + 2 + 3 * 12]
    cut = block[:8] + struct.pack("<H", 9) + block[10:]
    assert orientation_of(cut) == 6
    assert upright_exif(cut, 6, 4, 3) is None


def test_directories_that_point_at_each_other_end() -> None:
    block = bytearray(tiff(SIDES, INNER_SIDES))
    struct.pack_into("<I", block, 8 + 2 + 4 * 12, 8)
    struct.pack_into("<I", block, 8 + 2 + 3 * 12 + 8, 8)
    exif = upright_exif(bytes(block), 6, 30, 40)
    assert exif is not None
    assert orientation_of(exif) == 1


@st.composite
def hostile_blocks(draw: st.DrawFn) -> bytes:
    """A sound block with a few of its bytes, offsets mostly, changed to anything."""
    block = bytearray(tiff(SIDES, INNER_SIDES | {0x9214: (3, (1, 2, 3, 4))}, thumbnail=THUMBNAIL[:40], behind=b"tail"))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(block) - 4))
        value = draw(st.one_of(st.integers(0, len(block) + 4), st.integers(0, 0xFFFFFFFF)))
        struct.pack_into(draw(st.sampled_from("<>")) + "I", block, at, value)
    return bytes(block[: draw(st.integers(0, len(block)))])


@given(
    st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda b: b"II*\x00" + b), hostile_blocks()),
    st.integers(1, 8),
)
@example(b"MM\x00*\x00\x00\x00\x08\x00\x01" + bytes(12), 6)
def test_any_bytes_are_patched_or_refused_and_never_grow(block: bytes, orientation: int) -> None:
    orientation_of(block)
    states_density(block)
    upright = upright_exif(block, orientation, 70_000, 3)
    if upright is not None:
        assert len(upright) <= len(block)
        assert orientation_of(upright) in {1, None}
        assert len(without_positions(upright)) == len(upright)


def test_a_hostile_block_of_megabytes_takes_no_longer_than_its_length() -> None:
    """65,535 entries in each directory, every value and strip overlapping every other: linear, or this hangs."""
    entries = b"".join(struct.pack("<HHII", 0x0111 + 6 * (k % 2), 4, 0x40000, 7 * k) for k in range(65_535))
    body = struct.pack("<H", 65_535) + entries
    block = b"II*\x00" + struct.pack("<I", 8) + body + struct.pack("<I", 12 + len(body)) + body + bytes(1 << 20)
    assert upright_exif(block, 6, 4, 3) is not None
