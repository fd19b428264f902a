"""Photos of every kind go in and come out right, and what is not a photo is refused with a typed error."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pocketcrafter.runtime.errors import PhotoError, StorageError
from pocketcrafter.runtime.photo import Photo, PhotoFormat, decode, encode
from pocketcrafter.runtime.photo.metadata import Metadata

PIXELS = skimage.data.astronaut()[100:340, 120:420]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="1"/></x:xmpmeta>'


def exif(orientation: int = 1) -> bytes:
    block = Image.Exif()
    block[0x0112], block[0x010F] = orientation, "Maker"
    block.get_ifd(0x8825)[1] = "N"
    return block.tobytes()


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png16(pixels: np.ndarray) -> bytes:
    order = {2: slice(None), 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.ndim if pixels.ndim == 2 else pixels.shape[2]]
    ok, data = cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[..., order])
    assert ok
    return bytes(data)


def ten_bit_pq_heic(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    color = {"color_primaries": 9, "transfer_characteristics": 16, "matrix_coefficients": 9, "full_range_flag": 1}
    size = (pixels.shape[1], pixels.shape[0])
    pillow_heif.encode("RGB;10", size, (pixels.astype(np.uint16) * 4).tobytes(), file, bit_depth=10, **color)
    return file.getvalue()


def tags(photo: Photo) -> Image.Exif:
    block = Image.Exif()
    assert photo.metadata.exif is not None
    block.load(photo.metadata.exif)
    return block


# Decoding


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_orientation_is_applied_once_and_reset(kind: str, orientation: int) -> None:
    quadrants = np.zeros((32, 48, 3), np.uint8)
    quadrants[:16, :24], quadrants[16:, 24:] = (250, 0, 0), (0, 0, 250)
    photo = decode(stored(Image.fromarray(quadrants), kind, exif=exif(orientation)))
    image = Image.open(io.BytesIO(stored(Image.fromarray(quadrants), "PNG", exif=exif(orientation))))
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert photo.pixels.shape == expected.shape
    assert np.abs(photo.pixels.astype(int) - expected).mean() < 12
    assert tags(photo).get(0x0112, 1) == 1
    assert tags(photo)[0x010F] == "Maker"
    assert tags(photo).get_ifd(0x8825)[1] == "N"


def test_heic_is_upright_and_keeps_its_exif() -> None:
    pillow_heif.register_heif_opener()
    small = PIXELS[:48, :64]
    photo = decode(stored(Image.fromarray(small), "HEIF", quality=90, exif=exif()))
    assert photo.source_format is PhotoFormat.HEIC
    assert np.abs(photo.pixels.astype(int) - small).mean() < 4
    assert tags(photo)[0x010F] == "Maker"


def test_jpeg_subsampling_is_remembered() -> None:
    image = Image.fromarray(PIXELS)
    assert decode(stored(image, "JPEG", subsampling=2)).chroma_subsampling == 2
    assert decode(stored(image, "JPEG", subsampling=0)).chroma_subsampling == 0


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_keeps_every_bit(channels: int) -> None:
    samples = np.random.default_rng(channels).integers(0, 65536, (37, 53, channels), dtype=np.uint16)
    photo = decode(grey_alpha_png16(samples) if channels == 2 else png16(samples[..., 0] if channels == 1 else samples))
    colors = samples[..., : channels - 1 + channels % 2]
    np.testing.assert_array_equal(photo.pixels, np.broadcast_to(colors, (37, 53, 3)))
    if channels % 2 == 0:
        np.testing.assert_array_equal(photo.alpha, samples[..., -1])
    else:
        assert photo.alpha is None


def grey_alpha_png16(samples: np.ndarray) -> bytes:
    height, width, _ = samples.shape
    rows = np.zeros((height, 1 + 4 * width), np.uint8)
    rows[:, 1:] = samples.astype(">u2").view(np.uint8).reshape(height, -1)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes()))
        + chunk(b"IEND", b"")
    )


def test_grey_becomes_three_equal_channels() -> None:
    grey = Image.fromarray(PIXELS).convert("L")
    for kind in ("PNG", "JPEG"):
        pixels = decode(stored(grey, kind)).pixels
        assert (pixels[..., 0] == pixels[..., 2]).all()
        assert pixels.shape == PIXELS.shape


def test_bilevel_png_becomes_black_and_white() -> None:
    assert set(np.unique(decode(stored(Image.fromarray(PIXELS).convert("1"), "PNG")).pixels)) == {0, 255}


def test_cmyk_jpeg_looks_like_its_rgb_original() -> None:
    photo = decode(stored(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(photo.pixels.astype(int) - PIXELS).mean() < 3


def test_palette_with_transparency_keeps_both() -> None:
    image = Image.fromarray(PIXELS).quantize(16)
    photo = decode(stored(image, "PNG", transparency=bytes([0, 128]) + bytes([255] * 14)))
    assert photo.alpha is not None
    assert set(np.unique(photo.alpha)) == {0, 128, 255}
    assert np.abs(photo.pixels.astype(int) - np.asarray(image.convert("RGB"))).max() == 0


def test_an_opaque_alpha_channel_is_dropped() -> None:
    assert decode(stored(Image.fromarray(PIXELS).convert("RGBA"), "PNG")).alpha is None


def test_one_pixel() -> None:
    assert decode(stored(Image.new("RGB", (1, 1), (7, 8, 9)), "PNG")).pixels.tolist() == [[[7, 8, 9]]]


# What is not a photo


def bomb() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    ihdr = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + ihdr + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


JPEG = stored(Image.fromarray(PIXELS), "JPEG")
BAD = {
    "empty": (b"", "empty"),
    "text": (b"this is not a photo\n" * 20, "not a JPEG, PNG, WebP, HEIC or AVIF"),
    "gif": (stored(Image.fromarray(PIXELS), "GIF"), "not a JPEG"),
    "half a jpeg": (JPEG[: len(JPEG) // 2], "damaged"),
    "half a png": (stored(Image.fromarray(PIXELS), "PNG")[:5000], "damaged"),
    "half a webp": (stored(Image.fromarray(PIXELS), "WEBP")[:2000], "damaged|not a JPEG"),
    "half a 16-bit png": (png16(PIXELS.astype(np.uint16) * 257)[:5000], "damaged"),
    "a bomb": (bomb(), "MP"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_a_photo_is_refused_with_its_name(name: str, tmp_path: Path) -> None:
    data, message = BAD[name]
    path = tmp_path / "renamed.jpg"
    path.write_bytes(data)
    with pytest.raises(PhotoError, match=message) as error:
        decode(path)
    assert str(path) in str(error.value)


def test_slightly_too_many_pixels_are_refused_before_decoding() -> None:
    header = bomb().replace(struct.pack(">II", 60_000, 60_000), struct.pack(">II", 10_500, 10_001))
    body = header[12:29]
    with pytest.raises(PhotoError, match="over the limit of 105 MP"):
        decode(header[:29] + struct.pack(">I", zlib.crc32(body)) + header[33:])


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="no such file"):
        decode(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match="not a file"):
        decode(tmp_path)


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize(
    "how", [{}, {"progressive": True}, {"restart_marker_blocks": 5}], ids=["baseline", "progressive", "restarts"]
)
def test_a_jpeg_without_its_end_marker_is_shown_and_one_without_pixels_is_not(how: dict[str, int], lost: int) -> None:
    whole = stored(Image.fromarray(PIXELS[:96, :128]), "JPEG", quality=80, **how)
    photo = decode(whole[:-lost])
    np.testing.assert_array_equal(photo.pixels, decode(whole).pixels)
    assert photo.notes == ("The file ends without JPEG's end marker; all of its pixels were there.",)
    for cut in range(8, len(whole) - 600, 29):
        with pytest.raises(PhotoError):
            decode(whole[:-cut])


def animated(kind: str, **options: object) -> bytes:
    frames = [Image.fromarray(np.roll(PIXELS[:48, :64], 9 * shift, axis=1)) for shift in range(3)]
    return stored(frames[0], kind, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "MPO", "HEIF"])
def test_frames_that_are_left_out_are_told(kind: str) -> None:
    photo = decode(animated(kind))
    assert np.abs(photo.pixels.astype(int) - PIXELS[:48, :64]).mean() < 12
    assert [note for note in photo.notes if "frames" in note] == [
        f"Of its 3 frames {'the primary one' if kind == 'HEIF' else 'the first'} was taken; the others are left out."
    ]
    assert not decode(stored(Image.fromarray(PIXELS[:48, :64]), "JPEG" if kind == "MPO" else kind)).notes


def test_what_macos_keeps_beside_a_photo_is_told_apart_from_it() -> None:
    with pytest.raises(PhotoError, match="AppleDouble"):
        decode(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(64))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "PNG16", "HEIF", "AVIF", "HEIF10"]), st.data())
def test_damage_gives_a_photo_or_a_typed_error(kind: str, data: st.DataObject) -> None:
    raw = bytearray(SMALL[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = decode(bytes(raw[: data.draw(st.integers(1, len(raw)))]))
    except PhotoError:
        return
    assert photo.pixels.ndim == 3


pillow_heif.register_heif_opener()
_TINY = Image.fromarray(PIXELS[:24, :24])
SMALL = {k: stored(_TINY, k, exif=exif(6)) for k in ("JPEG", "PNG", "WEBP", "HEIF", "AVIF")} | {
    "PNG16": png16(PIXELS[:24, :24].astype(np.uint16) * 257),
    "HEIF10": ten_bit_pq_heic(PIXELS[:24, :24]),
}


# Encoding


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".heic", ".avif"])
def test_metadata_and_looks_survive_a_round_trip(
    suffix: str, tmp_path: Path, rgb_profile: Callable[[str], bytes]
) -> None:
    icc = rgb_profile("display-p3")
    photo = Photo(pixels=PIXELS, icc=icc, metadata=Metadata(exif=exif()[6:], xmp=XMP))
    encode(photo, tmp_path / f"out{suffix}")
    back = decode(tmp_path / f"out{suffix}")
    assert back.icc == icc
    assert tags(back)[0x010F] == "Maker"
    assert back.metadata.xmp == XMP
    assert np.abs(back.pixels.astype(int) - PIXELS).mean() < 4
    assert [p.name for p in tmp_path.iterdir()] == [f"out{suffix}"]


def test_avif_leaves_maker_notes_where_they_are(tmp_path: Path) -> None:
    """They hold offsets into the block."""
    block = Image.Exif()
    block[0x0112], block[0x010F], block[0x0132] = 1, "Maker of cameras", "2026:01:01 00:00:00"
    block.get_ifd(0x8769)[0x927C] = bytes(range(100))
    told = block.tobytes().removeprefix(b"Exif\x00\x00")
    encode(Photo(pixels=PIXELS, metadata=Metadata(exif=told)), tmp_path / "out.avif")
    photo = decode(tmp_path / "out.avif")
    assert photo.metadata.exif is not None
    assert len(photo.metadata.exif) == len(told)
    assert photo.metadata.exif.index(bytes(range(100))) == told.index(bytes(range(100)))
    assert tags(photo)[0x010F] == "Maker of cameras"
    assert tags(photo).get_ifd(0x8769)[0x927C] == bytes(range(100))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (700, 1200), (3, 5)])
def test_png_is_lossless_at_both_depths(
    dtype: type[np.unsignedinteger], alpha: bool, shape: tuple[int, int], tmp_path: Path
) -> None:
    """700×1200 at 16 bits takes several strips; an independent decoder reads the file back."""
    samples = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (*shape, 4), dtype=dtype)
    photo = Photo(pixels=np.ascontiguousarray(samples[..., :3]), alpha=samples[..., 3] if alpha else None)
    encode(photo, tmp_path / "out.png")
    read = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    expected = samples[..., [2, 1, 0, 3]] if alpha else samples[..., [2, 1, 0]]
    np.testing.assert_array_equal(read, expected)


def test_sixteen_bits_round_to_the_nearest_level_in_jpeg(tmp_path: Path) -> None:
    encode(Photo(pixels=PIXELS.astype(np.uint16) * 257), tmp_path / "out.jpg")
    assert np.abs(decode(tmp_path / "out.jpg").pixels.astype(int) - PIXELS).mean() < 2


def test_jpeg_lays_transparency_over_white(tmp_path: Path) -> None:
    clear = Photo(pixels=np.zeros((16, 16, 3), np.uint8), alpha=np.zeros((16, 16), np.uint8))
    encode(clear, tmp_path / "out.jpg")
    assert decode(tmp_path / "out.jpg").pixels.min() >= 253


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "out.jpg"
    target.write_bytes(b"old")
    with pytest.raises(PhotoError, match="holds at most"):
        encode(Photo(pixels=np.zeros((1, 70_000, 3), np.uint8)), target)
    with pytest.raises(StorageError, match=r"cannot be written: (Not a directory|File exists)"):
        encode(Photo(pixels=PIXELS), target / "out.jpg")
    with pytest.raises(PhotoError, match="not a photo format"):
        encode(Photo(pixels=PIXELS), tmp_path / "out.xyz")
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
