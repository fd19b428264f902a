"""JPEG segments: carried, mended or named as left out; nothing in them keeps a sound picture from being read."""

import hashlib
import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin

from pocketcrafter.runtime.photo import Photo, decode, encode
from pocketcrafter.runtime.photo.metadata import Density, Metadata
from pocketcrafter.runtime.photo.metadata.jpeg import read_jpeg, with_metadata

PIXELS = np.full((24, 32, 3), 128, np.uint8)
XMP = b"http://ns.adobe.com/xap/1.0/\x00"
EXTENSION = b"http://ns.adobe.com/xmp/extension/\x00"
RDF = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '


def plain(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", **options)
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def photo_with(*segments: bytes, behind: bytes = b"", **options: object) -> bytes:
    """A JPEG with more segments behind JFIF's, and bytes behind its end."""
    data = plain(**options)
    return data[:20] + b"".join(segments) + data[20:] + behind


def segments_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk a JPEG that we wrote, up to its scan."""
    at = 2
    while data[at + 1] != 0xDA:
        size = struct.unpack_from(">H", data, at + 2)[0]
        yield data[at + 1], data[at + 4 : at + 2 + size]
        at += 2 + size


def edited(data: bytes, folder: Path, name: str = "out.jpg") -> tuple[bytes, str]:
    """Decode and encode again; return the file and the note."""
    notes = encode(decode(data), folder / name)
    return (folder / name).read_bytes(), " ".join(notes)


def resource(kind: int, content: bytes, name: bytes = b"\x00\x00") -> bytes:
    return (
        b"8BIM" + struct.pack(">H", kind) + name + struct.pack(">I", len(content)) + content + bytes(len(content) % 2)
    )


def dataset(number: int, text: bytes) -> bytes:
    return b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(text)) + text


IPTC = dataset(120, b"A caption") + dataset(25, b"harbour") + dataset(25, b"night")


@pytest.mark.parametrize("split", [False, True])
def test_iptc_stays_and_stale_thumbnails_go(split: bool, tmp_path: Path) -> None:
    blocks = (
        resource(0x040C, b"\xff\xd8 the old photo")
        + resource(0x0404, IPTC, b"\x05names")
        + resource(0x0425, hashlib.md5(IPTC).digest())  # noqa: S324
    )
    pieces = [blocks[:40], blocks[40:]] if split else [blocks]
    data = photo_with(*(segment(0xED, b"Photoshop 3.0\x00" + piece) for piece in pieces))
    out, note = edited(data, tmp_path)
    with Image.open(io.BytesIO(out)) as image:
        info = IptcImagePlugin.getiptcinfo(image)
    assert info == {(2, 120): b"A caption", (2, 25): [b"harbour", b"night"]}
    assert b"old photo" not in out
    assert note == ""


def test_photoshops_own_resources_are_named_as_left_out(tmp_path: Path) -> None:
    blocks = resource(0x0404, IPTC) + resource(0x03F3, b"print flags") + b"8BIM\x04"
    _, note = edited(photo_with(segment(0xED, b"Photoshop 3.0\x00" + blocks)), tmp_path)
    assert note == "Left out: Photoshop resources, Photoshop resources (damaged)."


def test_iptc_over_64_kib_is_split_over_segments(tmp_path: Path) -> None:
    iptc = resource(0x0404, dataset(120, b"x" * 30_000) * 5)
    encode(Photo(pixels=PIXELS, metadata=Metadata(iptc=iptc)), tmp_path / "out.jpg")
    assert decode(tmp_path / "out.jpg").metadata.iptc == iptc


def test_comments_stay_byte_for_byte(tmp_path: Path) -> None:
    comments = [b"first \xff latin", "zweiter, ü".encode()]
    out, note = edited(photo_with(*(segment(0xFE, comment) for comment in comments)), tmp_path)
    assert [body for marker, body in segments_of(out) if marker == 0xFE] == comments
    assert note == ""


@pytest.mark.parametrize(("dpi", "orientation", "expected"), [((300, 300), 1, (300, 300)), ((72, 36), 6, (36, 72))])
def test_density_stays_and_turns_with_the_photo(
    dpi: tuple[int, int], orientation: int, expected: tuple[int, int], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out, _ = edited(plain(dpi=dpi, exif=exif), tmp_path)
    with Image.open(io.BytesIO(out)) as image:
        assert image.info["dpi"] == expected


def test_pixels_that_are_no_squares_stay_so(tmp_path: Path) -> None:
    data = bytearray(plain())
    struct.pack_into(">BHH", data, 13, 0, 4, 3)
    out, _ = edited(bytes(data), tmp_path)
    assert struct.unpack_from(">BHH", out, 13) == (0, 4, 3)
    struct.pack_into(">BHH", data, 13, 2, 100, 100)
    assert decode(bytes(data)).metadata.density == Density(254, 254)


ANNOUNCED = (
    b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/jpeg"/></rdf:RDF>'
)
VIDEO = b"\x00\x00\x00\x18ftypmp42" + bytes(50)
LEFT_OUT = {
    "motion by XMP": ((segment(0xE1, XMP + RDF + ANNOUNCED),), VIDEO, "motion video"),
    "motion without XMP": ((), VIDEO, "motion video"),
    "Samsung's trailer": ((), b"\x00\x00\x30\x0aMotionPhoto_Data" + VIDEO + b"SEFT", "motion video"),
    "another trailer": ((), b"\x00\x00\x01\x0aImage_UTC_Data1700000000000SEFT", "data behind the picture"),
    "padding": ((), bytes(4096), ""),
    "credentials": (
        (segment(0xEB, b"JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x40jumb\x00\x00\x00\x1ejumdc2pa"),),
        b"",
        "content credentials (C2PA)",
    ),
    "other JUMBF": ((segment(0xEB, b"JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x40jumbxyz"),), b"", "JUMBF boxes"),
    "FlashPix": ((segment(0xE2, b"FPXR\x00\x00\x01"),), b"", "FlashPix streams"),
    "a maker's own": ((segment(0xE4, b"SCALADO\x00\x01"),), b"", "APP4 segment 'SCALADO'"),
    "a hostile name": ((segment(0xE5, b"\x1b[31mred"),), b"", "APP5 segment"),
    "JFIF's thumbnail": ((segment(0xE0, b"JFXX\x00\x10\xff\xd8\xff\xd9"),), b"", ""),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_cannot_be_carried_is_named(name: str, tmp_path: Path) -> None:
    segments, behind, what = LEFT_OUT[name]
    out, note = edited(photo_with(*segments, behind=behind), tmp_path)
    assert note == (f"Left out: {what}." if what else "")
    for trace in (b"MotionPhoto", b"ftyp", b"c2pa", b"FPXR", b"SCALADO"):
        assert trace not in out
    assert read_jpeg(out)[0].left_out == ()


def test_an_index_of_further_pictures_goes_with_them(tmp_path: Path) -> None:
    """The frames themselves are told by whoever decodes the first."""
    file = io.BytesIO()
    small = Image.fromarray(PIXELS[:12])
    Image.fromarray(PIXELS).save(file, "MPO", save_all=True, append_images=[small])
    out, note = edited(file.getvalue(), tmp_path)
    assert "Left out" not in note
    assert b"MPF" not in out
    with Image.open(io.BytesIO(out)) as image:
        assert (image.format, getattr(image, "n_frames", 1)) == ("JPEG", 1)


# Blocks larger than a segment


def extended_photo(
    extension: bytes, name: bytes | None = None, changed: dict[int, tuple[int, int]] | None = None
) -> bytes:
    """A JPEG whose XMP goes on in chunks of 1,000 bytes, in reverse; ``changed`` sets a chunk's (size, offset)."""
    name = hashlib.md5(extension).hexdigest().upper().encode() if name is None else name  # noqa: S324
    first = RDF + b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="' + name + b'"/></rdf:RDF>'
    chunks = []
    for index, at in enumerate(range(0, len(extension), 1000)):
        size, offset = (changed or {}).get(index, (len(extension), at))
        chunks.append(EXTENSION + name + struct.pack(">II", size, offset) + extension[at : at + 1000])
    return photo_with(segment(0xE1, XMP + first), *(segment(0xE1, chunk) for chunk in chunks[::-1]))


EXTENDED = RDF + b'xmlns:p="urn:p"><p:history>' + b"step " * 1000 + b"</p:history></rdf:Description></rdf:RDF>"


def test_extended_xmp_is_put_together_and_written_back(tmp_path: Path) -> None:
    out, note = edited(extended_photo(EXTENDED), tmp_path)
    name = hashlib.md5(EXTENDED).hexdigest().upper().encode()  # noqa: S324
    bodies = [body for marker, body in segments_of(out) if marker == 0xE1]
    assert b'HasExtendedXMP="' + name + b'"' in bodies[0]
    assert bodies[1:] == [EXTENSION + name + struct.pack(">II", len(EXTENDED), 0) + EXTENDED]
    assert note == ""


@pytest.mark.parametrize("suffix", [".png", ".webp", ".heic"])
def test_where_there_is_no_second_packet_none_is_announced(suffix: str, tmp_path: Path) -> None:
    out, note = edited(extended_photo(EXTENDED), tmp_path, f"out{suffix}")
    assert note == "Left out: extended XMP."
    assert b"HasExtendedXMP" not in out
    assert decode(out).metadata.left_out == ()


@pytest.mark.parametrize(
    "data",
    [
        extended_photo(EXTENDED, changed={1: (len(EXTENDED), 999)}),
        extended_photo(EXTENDED, changed={1: (len(EXTENDED), 1001)}),
        extended_photo(EXTENDED, changed={2: (0xFFFFFFFF, 2000)}),
        extended_photo(EXTENDED, changed={k: (0xFFFFFFFF, 1000 * k) for k in range(6)}),
        extended_photo(EXTENDED, changed={0: (len(EXTENDED), 0xFFFFFF00)}),
        extended_photo(EXTENDED, name=b"0" * 32).replace(b'HasExtendedXMP="0', b'HasExtendedXMP="1'),
        extended_photo(EXTENDED[:-5]),
        extended_photo(b""),
    ],
)
def test_an_extension_with_gaps_overlaps_or_another_name_is_left_out(data: bytes, tmp_path: Path) -> None:
    out, note = edited(data, tmp_path)
    assert note == "Left out: extended XMP."
    assert b"HasExtendedXMP" not in out
    assert EXTENSION not in out


def test_depth_maps_in_the_extension_go_and_an_empty_extension_with_them(tmp_path: Path) -> None:
    depth = RDF + b'xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" GDepth:Data="' + b"QUJD" * 900
    out, note = edited(extended_photo(depth + b'"/></rdf:RDF>'), tmp_path)
    assert note == "Left out: depth map."
    assert b"HasExtendedXMP" not in out
    assert b"QUJD" not in out


def test_blocks_over_64_kib_are_named_with_their_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "d" * 80_000
    xmp = RDF + b'xmlns:p="urn:p" p:long="' + b"x" * 90_000 + b'"/></rdf:RDF>'
    photo = Photo(pixels=PIXELS, metadata=Metadata(exif=exif.tobytes()[6:], xmp=xmp))
    note = " ".join(encode(photo, tmp_path / "out.jpg"))
    assert note == "Left out: EXIF (78 KiB, of which JPEG holds 64), XMP (88 KiB, of which JPEG holds 64)."
    assert encode(photo, tmp_path / "out.png") == ()
    assert decode(tmp_path / "out.png").metadata.xmp == xmp


def test_exif_split_over_segments_is_joined() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker" * 40
    block = exif.tobytes()
    data = photo_with(segment(0xE1, block[:60]), segment(0xE1, b"Exif\x00\x00" + block[60:]))
    assert read_jpeg(data)[0].exif == block[6:]


# Damage


def test_the_best_pixels_are_found_behind_any_segment(tmp_path: Path) -> None:
    """Damaged EXIF, XMP, Photoshop and extension together cost themselves, not the photo."""
    data = photo_with(
        segment(0xE1, b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"),
        segment(0xE1, XMP + b"<x:xmpmeta><unfinished"),
        segment(0xE1, EXTENSION + b"short"),
        segment(0xED, b"Photoshop 3.0\x008BIM\xff"),
    )
    out, note = edited(data, tmp_path)
    assert note == "Left out: Photoshop resources (damaged), EXIF (damaged), XMP (damaged)."
    np.testing.assert_array_equal(decode(out).pixels, PIXELS)


@pytest.mark.parametrize(
    "cut",
    [(0xE0, b"JFIF\x00\x01"), (0xE2, b"ICC_PROFILE\x00"), (0xEE, b"Adobe\x00d"), (0xE0, b"JFIF\x00")],
)
def test_a_segment_too_short_for_its_name_costs_itself_alone(cut: tuple[int, bytes], tmp_path: Path) -> None:
    out, note = edited(photo_with(segment(*cut), segment(0xFE, b"a comment")), tmp_path)
    assert note == f"Left out: APP{cut[0] - 0xE0} segment (damaged)."
    assert decode(out).metadata.comments == (b"a comment",)
    np.testing.assert_array_equal(decode(out).pixels, PIXELS)


@pytest.mark.parametrize("body", [b"", b"garbage", b"MM\x00*\x00\x00\x00\x08\x00\x03", b"II*\x00" + b"\xff" * 60])
def test_a_damaged_index_of_pictures_costs_itself_alone(body: bytes) -> None:
    np.testing.assert_array_equal(decode(photo_with(segment(0xE2, b"MPF\x00" + body))).pixels, PIXELS)


WHOLE = photo_with(
    segment(0xE1, b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + bytes(16)),
    segment(0xE1, XMP + RDF + b"/></rdf:RDF>"),
    segment(0xED, b"Photoshop 3.0\x00" + resource(0x0404, IPTC)),
    segment(0xFE, b"comment"),
)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(2, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, len(WHOLE)),
    st.integers(1, 8),
)
def test_any_bytes_are_read_without_an_error(damage: list[tuple[int, int]], size: int, orientation: int) -> None:
    raw = bytearray(WHOLE)
    for at, value in damage:
        raw[at] = value
    metadata = read_jpeg(bytes(raw[:size]))[0].of_edited(orientation, 24, 32)
    assert read_jpeg(with_metadata(plain(), metadata))[0].iptc == metadata.iptc


@given(st.binary(max_size=300))
def test_what_is_no_jpeg_has_no_metadata_to_speak_of(data: bytes) -> None:
    assert read_jpeg(data)[0].exif is None or b"Exif" in data
