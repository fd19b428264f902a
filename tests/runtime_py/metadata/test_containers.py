"""Metadata from one container to the next: carried where there is a place, named where there is none."""

import io
import struct
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pocketcrafter.runtime.photo import Photo, decode, encode
from pocketcrafter.runtime.photo.metadata import Density, Metadata, Text
from pocketcrafter.runtime.photo.metadata.containers import read_items, read_webp

PIXELS = np.full((48, 64, 3), 99, np.uint8)
IPTC = b"8BIM\x04\x04\x00\x00\x00\x00\x00\x0e\x1c\x02\x78\x00\x09A caption"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r xmlns:d="urn:d" d:a="b"/></x:xmpmeta>'


def exif(**sides: int) -> bytes:
    block = Image.Exif()
    block[0x010F] = "Maker"
    block.get_ifd(0x8769)[0xA002] = sides.get("width", 64)
    block.get_ifd(0x8769)[0xA003] = sides.get("height", 48)
    if "orientation" in sides:
        block[0x0112] = sides["orientation"]
    return block.tobytes()


EVERYTHING = Metadata(
    exif=exif()[6:],
    xmp=XMP,
    iptc=IPTC,
    comments=(b"a comment",),
    density=Density(300, 300),
    texts=(Text("Author", "Jane"),),
)
NOTES = {
    ".jpg": "Left out: PNG text 'Author'.",
    ".png": "",
    ".webp": "Left out: IPTC, JPEG comment, 300 dpi, PNG text 'Author'.",
    ".heic": "Left out: IPTC, JPEG comment, 300 dpi, PNG text 'Author'.",
    ".avif": "Left out: IPTC, JPEG comment, 300 dpi, PNG text 'Author'.",
}


@pytest.mark.parametrize("suffix", NOTES)
def test_each_container_holds_what_it_can_and_the_rest_is_named(suffix: str, tmp_path: Path) -> None:
    note = " ".join(encode(Photo(pixels=PIXELS, metadata=EVERYTHING), tmp_path / f"out{suffix}"))
    assert note == NOTES[suffix]
    with Image.open(tmp_path / f"out{suffix}") as image:
        image.load()
        assert image.getexif()[0x010F] == "Maker"
        assert image.getexif().get_ifd(0x8769)[0xA002] == 64
        assert image.info["xmp"] == XMP
    back = decode(tmp_path / f"out{suffix}").metadata
    assert back.left_out == ()
    assert (back.iptc == IPTC) == (suffix in {".jpg", ".png"})


def test_what_a_jpeg_says_comes_back_from_a_png(tmp_path: Path) -> None:
    encode(Photo(pixels=PIXELS, metadata=EVERYTHING), tmp_path / "a.jpg")
    encode(decode(tmp_path / "a.jpg"), tmp_path / "b.png")
    encode(decode(tmp_path / "b.png"), tmp_path / "c.jpg")
    first, last = (decode(tmp_path / name).metadata for name in ("a.jpg", "c.jpg"))
    assert (first.exif, first.xmp, first.iptc, first.comments) == (last.exif, last.xmp, last.iptc, last.comments)
    assert first.density == last.density == Density(300, 300)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_stated_sides_are_turned_in_every_container(kind: str) -> None:
    """A HEIC turns by itself; its EXIF says the sides of the stored pixels all the same."""
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, exif=exif(orientation=6))
    photo = decode(file.getvalue())
    assert (photo.width, photo.height) == (48, 64)
    block = Image.Exif()
    assert photo.metadata.exif is not None
    block.load(photo.metadata.exif)
    inner = block.get_ifd(0x8769)
    assert (block.get(0x0112, 1), inner[0xA002], inner[0xA003]) == (1, 48, 64)


def test_after_a_crop_sizes_are_the_crops_and_places_in_the_old_frame_are_named() -> None:
    regions = b'<x xmlns:r="http://www.metadataworkinggroup.com/schemas/regions/"><r:Regions/></x>'
    cropped = Metadata(exif=exif()[6:], xmp=regions).cropped(12, 34)
    block = Image.Exif()
    assert cropped.exif is not None
    block.load(cropped.exif)
    assert block.get_ifd(0x8769)[0xA002] == 12
    assert cropped.xmp is not None
    assert b"Regions/" not in cropped.xmp
    assert cropped.left_out == ("places of faces and subject",)


# WebP


def webp_with(*chunks: tuple[bytes, bytes]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "WEBP", xmp=XMP)
    body = file.getvalue()[12:] + b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize(
    ("chunk", "word"),
    [
        ((b"EXIF", b"b'Exif\\x00\\x00II*'"), "EXIF (damaged)"),
        ((b"EXIF", b""), "EXIF (damaged)"),
        ((b"C2PA", b"jumb"), "content credentials (C2PA)"),
        ((b"\x1bBAD", b"x"), "?BAD chunk"),
    ],
)
def test_a_webp_is_read_whatever_stands_beside_its_picture(chunk: tuple[bytes, bytes], word: str) -> None:
    photo = decode(webp_with(chunk))
    assert photo.pixels.shape == PIXELS.shape
    assert photo.metadata.left_out == (word,)
    assert photo.metadata.xmp == XMP


@given(st.binary(max_size=120))
def test_any_bytes_behind_a_webps_header_are_read(data: bytes) -> None:
    metadata = read_webp(b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data)
    assert metadata.exif is None or metadata.exif in data


# HEIC


def test_a_heics_further_items_are_named() -> None:
    info = {"aux": {"urn:com:apple:photo:2018:aux:portraiteffectsmatte": [2]}, "depth_images": [object()]}
    assert read_items(b"", info).left_out == ("depth map", "mattes")


def test_a_heics_content_credentials_are_named() -> None:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(PIXELS)).save(file)
    box = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + b"manifest"
    photo = decode(file.getvalue() + struct.pack(">I", 8 + len(box)) + b"uuid" + box)
    assert photo.metadata.left_out == ("content credentials (C2PA)",)


@given(st.binary(max_size=120))
def test_any_boxes_end(data: bytes) -> None:
    assert len(read_items(data + bytes(40), {}).left_out) <= 1
