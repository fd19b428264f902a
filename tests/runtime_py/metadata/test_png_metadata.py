"""PNG chunks: carried, mended or named as left out; and no damage in them keeps a sound picture from being read."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pocketcrafter.runtime.photo import decode, encode
from pocketcrafter.runtime.photo.metadata import Density, Metadata, Text
from pocketcrafter.runtime.photo.metadata.png import png_chunks, read_png

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
RESOURCES = b"8BIM\x04\x04\x00\x00\x00\x00\x00\x0e\x1c\x02\x78\x00\x09A caption"


def chunk(kind: bytes, body: bytes, *, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def photo_with(*chunks: bytes, behind: bytes = b"", at_end: bool = False) -> bytes:
    """A PNG with more chunks before its pixels, or after them."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    data, extra = file.getvalue(), b"".join(chunks)
    return (data[:-12] + extra + data[-12:] if at_end else data[:33] + extra + data[33:]) + behind


def chunks_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(data):
        size = struct.unpack_from(">I", data, at)[0]
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def exif(orientation: int = 6) -> bytes:
    block = Image.Exif()
    block[0x0112], block[0x010F] = orientation, "Maker"
    return block.tobytes()


def raw_profile(name: str, profile: bytes, *, stated: int | None = None, digits: str | None = None) -> bytes:
    """A profile as ImageMagick writes it."""
    digits = profile.hex() if digits is None else digits
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = f"\n{name}\n{len(profile) if stated is None else stated:8d}\n{lines}\n"
    return f"Raw profile type {name}\x00\x00".encode() + zlib.compress(text.encode())


def edited(data: bytes, folder: Path, name: str = "out.png") -> tuple[bytes, str]:
    photo = decode(data)
    notes = encode(photo, folder / name)
    return (folder / name).read_bytes(), " ".join(notes)


TEXTS = (
    Text("Author", "Jane Müller"),
    Text("Title", "東京", "ja", "題"),
    Text("parameters", "steps: 20, " * 200),
    Text("long", "東" * 2000),
)


@pytest.mark.parametrize("at_end", [False, True])
def test_texts_of_each_kind_stay(at_end: bool, tmp_path: Path) -> None:
    title = b"Title\x00\x00\x00ja\x00" + "題".encode() + b"\x00" + "東京".encode()
    data = photo_with(
        chunk(b"tEXt", b"Author\x00Jane M\xfcller"),
        chunk(b"iTXt", title),
        chunk(b"zTXt", b"parameters\x00\x00" + zlib.compress(b"steps: 20, " * 200)),
        chunk(b"iTXt", b"long\x00\x01\x00\x00\x00" + zlib.compress(("東" * 2000).encode())),
        at_end=at_end,
    )
    out, note = edited(data, tmp_path)
    assert note == ""
    assert decode(out).metadata.texts == TEXTS
    with Image.open(io.BytesIO(out)) as image:
        image.load()
        assert image.text == {text.keyword: text.text for text in TEXTS}
        assert (image.text["Title"].lang, image.text["Title"].tkey) == ("ja", "題")


def test_density_stays(tmp_path: Path) -> None:
    out, _ = edited(photo_with(chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1))), tmp_path)
    assert dict(chunks_of(out))[b"pHYs"] == struct.pack(">IIB", 11811, 11811, 1)
    out, _ = edited(photo_with(chunk(b"pHYs", struct.pack(">IIB", 4, 3, 0))), tmp_path)
    assert dict(chunks_of(out))[b"pHYs"] == struct.pack(">IIB", 4, 3, 0)


@pytest.mark.parametrize(("name", "prefix"), [("exif", True), ("APP1", True), ("exif", False)])
def test_exif_in_a_raw_profile_is_applied_and_becomes_a_chunk_of_its_own(
    name: str, prefix: bool, tmp_path: Path
) -> None:
    block = exif() if prefix else exif().removeprefix(b"Exif\x00\x00")
    out, note = edited(photo_with(chunk(b"zTXt", raw_profile(name, block))), tmp_path)
    assert note == ""
    assert b"Raw profile" not in out
    with Image.open(io.BytesIO(out)) as image:
        assert image.size == (9, 14)
        assert (image.getexif()[0x0112], image.getexif()[0x010F]) == (1, "Maker")


def test_xmp_and_iptc_in_raw_profiles_stay(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    app1 = b"http://ns.adobe.com/xap/1.0/\x00" + xmp
    data = photo_with(chunk(b"zTXt", raw_profile("APP1", app1)), chunk(b"zTXt", raw_profile("iptc", RESOURCES)))
    out, note = edited(data, tmp_path)
    assert note == ""
    assert (decode(out).metadata.xmp, decode(out).metadata.iptc) == (xmp, RESOURCES + b"\x00" * (len(RESOURCES) % 2))


def test_a_chunk_of_its_own_goes_before_a_raw_profile() -> None:
    data = photo_with(chunk(b"eXIf", exif(1)[6:]), chunk(b"zTXt", raw_profile("exif", exif(6))))
    assert decode(data).pixels.shape == PIXELS.shape


DAMAGED = {
    "BigTIFF": (chunk(b"eXIf", b"II+\x00\x08\x00\x00\x00" + bytes(48)), "EXIF (damaged)"),
    "no TIFF": (chunk(b"eXIf", bytes(28)), "EXIF (damaged)"),
    "empty": (chunk(b"eXIf", b""), "EXIF (damaged)"),
    "odd digits": (chunk(b"zTXt", raw_profile("exif", b"abc", digits="616")), "'Raw profile type exif' (damaged)"),
    "no digits": (chunk(b"zTXt", raw_profile("exif", b"abc", digits="xyz!")), "'Raw profile type exif' (damaged)"),
    "length": (chunk(b"zTXt", raw_profile("exif", exif(), stated=9)), "'Raw profile type exif' (damaged)"),
    "checksum": (chunk(b"tEXt", b"Author\x00Jane", checksum=1), "tEXt chunk (damaged)"),
    "EXIF checksum": (chunk(b"eXIf", exif()[6:], checksum=1), "eXIf chunk (damaged)"),
    "density checksum": (chunk(b"pHYs", bytes(9), checksum=1), "pHYs chunk (damaged)"),
    "deflate": (chunk(b"zTXt", b"Author\x00\x00not deflated"), "zTXt chunk (damaged)"),
    "method": (chunk(b"zTXt", b"Author\x00\x07" + zlib.compress(b"x")), "zTXt chunk (damaged)"),
    "UTF-8": (chunk(b"iTXt", b"Author\x00\x00\x00\x00\x00\xff\xfe"), "iTXt chunk (damaged)"),
    "keyword": (chunk(b"tEXt", b"k" * 80 + b"\x00x"), "tEXt chunk (damaged)"),
    "no keyword": (chunk(b"tEXt", b"Author"), "tEXt chunk (damaged)"),
    "bomb": (chunk(b"zTXt", b"bomb\x00\x00" + zlib.compress(bytes(65 << 20))), "zTXt chunk (damaged)"),
    "XMP": (chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00<x:xmpmeta"), "XMP (damaged)"),
    "IPTC": (chunk(b"zTXt", raw_profile("iptc", b"8BIM\xff")), "Photoshop resources (damaged)"),
    "another profile": (chunk(b"zTXt", raw_profile("icm", b"abc")), "'Raw profile type icm'"),
    "credentials": (chunk(b"caBX", b"jumb"), "content credentials (C2PA)"),
    "unknown": (chunk(b"abCd", b"x"), "abCd chunk"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_or_has_no_place_is_named_and_the_pixels_are_read(name: str, tmp_path: Path) -> None:
    extra, what = DAMAGED[name]
    out, note = edited(photo_with(extra), tmp_path)
    assert note == f"Left out: {what}."
    np.testing.assert_array_equal(decode(out).pixels, PIXELS)
    assert decode(out).metadata.left_out == ()


def test_many_texts_together_are_bounded() -> None:
    """Sixty megabytes twice: the second is over what all texts may have together."""
    text = zlib.compress(b"a" * (60 << 20))
    metadata, _ = read_png(photo_with(*(chunk(b"zTXt", key + b"\x00\x00" + text) for key in (b"a", b"b"))))
    assert [text.keyword for text in metadata.texts] == ["a"]
    assert metadata.left_out == ("zTXt chunk (damaged)",)


def test_very_many_chunks_take_linear_time_and_one_line(tmp_path: Path) -> None:
    """Sixty thousand texts and as many unknown chunks: quadratic bookkeeping would take minutes."""
    texts = [chunk(b"tEXt", b"k\x1b[31m%d\x00" % number) for number in range(60_000)]
    names = (bytes([97 + n // 2197, 97 + n // 169 % 13, 65 + n // 13 % 13, 97 + n % 13]) for n in range(20_000))
    photo = decode(photo_with(*texts, *(chunk(name, b"") for name in names)))
    assert len(photo.metadata.texts) == 60_000
    (note,) = encode(photo, tmp_path / "out.jpg")
    assert note.isprintable()
    assert note.endswith("more.")
    assert len(note) < 400


def test_data_behind_the_end_is_named(tmp_path: Path) -> None:
    assert edited(photo_with(behind=b"more"), tmp_path)[1] == "Left out: data behind the picture."
    assert edited(photo_with(behind=bytes(8)), tmp_path)[1] == ""


@given(
    st.builds(
        Metadata,
        density=st.builds(Density, st.floats(1, 1e4), st.floats(1, 1e4), st.just(False)),
        texts=st.lists(
            st.builds(
                Text,
                st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=79),
                st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
                st.sampled_from(["", "de"]),
                st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9),
            ).filter(lambda text: not text.keyword.startswith(("Raw", "XML"))),
            max_size=3,
        ).map(tuple),
    )
)
def test_any_text_and_density_are_read_as_they_were_written(metadata: Metadata) -> None:
    chunks, _ = png_chunks(metadata)
    back, _ = read_png(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks) + chunk(b"IEND", b""))
    assert back.texts == metadata.texts
    assert back.density is not None
    assert metadata.density is not None
    assert back.density.x == pytest.approx(metadata.density.x, abs=0.02)


@given(st.binary(max_size=200), st.sampled_from([b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"pHYs"]), st.booleans())
def test_any_chunk_is_read_or_named_and_the_picture_stays(body: bytes, kind: bytes, is_profile: bool) -> None:
    body = b"Raw profile type exif\x00" + body if is_profile else body
    metadata, picture = read_png(photo_with(chunk(kind, body)))
    metadata.of_edited(6, 9, 14)
    with Image.open(io.BytesIO(picture)) as image:
        assert np.asarray(image).shape == PIXELS.shape


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_signature_are_passed_on_to_the_decoder(data: bytes) -> None:
    metadata, picture = read_png(b"\x89PNG\r\n\x1a\n" + data)
    assert len(picture) <= 8 + len(data)
    assert metadata.exif is None or metadata.exif in data
