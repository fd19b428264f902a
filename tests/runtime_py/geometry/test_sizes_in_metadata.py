"""Sizes that metadata state follow a crop."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pocketcrafter.runtime.photo.metadata import normalized_exif, resized_exif, resized_xmp


def block() -> bytes:
    exif = Image.Exif()
    exif[0x0100], exif[0x0101], exif[0x010F] = 4000, 3000, "Maker"
    exif.get_ifd(0x8769)[0xA002] = 4000
    exif.get_ifd(0x8769)[0xA003] = 3000
    normalized = normalized_exif(exif.tobytes())
    assert normalized is not None
    return normalized


def test_every_stated_size_follows_and_the_rest_stays() -> None:
    resized = Image.Exif()
    resized.load(b"Exif\x00\x00" + resized_exif(block(), 1234, 567))
    assert (resized[0x0100], resized[0x0101], resized[0x010F]) == (1234, 567, "Maker")
    inner = resized.get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003]) == (1234, 567)


def test_a_photo_with_the_block_can_be_read_again() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=b"Exif\x00\x00" + resized_exif(block(), 8, 8))
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        assert image.getexif()[0x010F] == "Maker"


@given(st.binary(max_size=200), st.sampled_from([b"II*\x00", b"MM\x00*"]))
def test_damaged_blocks_keep_their_length_and_raise_nothing(garbage: bytes, start: bytes) -> None:
    normalized = normalized_exif(start + garbage)
    if normalized is not None:
        assert len(resized_exif(normalized, 100, 50)) == len(normalized)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (
            b'<x exif:PixelXDimension="4000" exif:PixelYDimension="3000"/>',
            b'<x exif:PixelXDimension="30" exif:PixelYDimension="20"/>',
        ),
        (b"<tiff:ImageWidth>4000</tiff:ImageWidth>", b"<tiff:ImageWidth>30</tiff:ImageWidth>"),
        (b"<tiff:Make>4000</tiff:Make>", b"<tiff:Make>4000</tiff:Make>"),
    ],
)
def test_sizes_in_xmp_follow(packet: bytes, expected: bytes) -> None:
    assert resized_xmp(packet, 30, 20) == expected
