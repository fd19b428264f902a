import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pocketcrafter.export.data.photo_prep import exif_author, prepare_photo, shrink_factor
from pocketcrafter.runtime.errors import PhotoError

WritePhoto = Callable[..., Path]
sides = st.integers(512, 12_000)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@given(sides, sides)
def test_a_prepared_photo_keeps_its_short_side_and_is_never_enlarged(width: int, height: int) -> None:
    factor = shrink_factor(width, height)
    short, long = sorted((width / factor, height / factor))
    assert factor >= 1
    assert short >= min(544, width, height) - 1e-6
    assert long <= 1536 + 1e-6 or short <= 544 + 1e-6
    if min(width, height) >= 544 * 1.5:
        assert factor >= 1.5


@pytest.mark.parametrize(
    ("size", "factor"),
    [
        ((1024, 768), 768 / 544),
        ((1920, 1080), 1.5),
        ((2560, 1600), 2.0),
        ((6000, 4000), 6000 / 1536),
        ((700, 512), 1.0),
    ],
)
def test_the_factor_follows_the_rule(size: tuple[int, int], factor: float) -> None:
    assert shrink_factor(*size) == pytest.approx(factor)


def test_a_photo_is_shrunk_and_written_as_plain_rgb(tmp_path: Path, write_photo: WritePhoto) -> None:
    original = write_photo(tmp_path / "a.jpg", (1800, 1200), quality=95)
    size = prepare_photo(original, tmp_path / "train" / "a.png")
    with Image.open(tmp_path / "train/a.png") as image:
        assert (image.mode, image.size, image.format) == ("RGB", (1200, 800), "PNG")
    assert (size.width, size.height, size.scale) == (1200, 800, 1.5)
    wanted = pixels(original).reshape(600, 2, 900, 2, 3).mean((1, 3))
    got = np.asarray(Image.open(tmp_path / "train/a.png").resize((900, 600), Image.Resampling.BOX)).astype(int)
    assert np.abs(wanted - got).mean() < 1.5


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = np.zeros((600, 900, 3), np.uint8)
    picture[:, :450] = (250, 10, 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90° clockwise
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    prepare_photo(tmp_path / "a.png", tmp_path / "b.png")
    upright = pixels(tmp_path / "b.png")
    assert upright.shape[0] > upright.shape[1]
    assert upright[20, 20, 0] > 200
    assert upright[-20, 20, 0] < 50


def test_an_embedded_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    """The profile is sRGB with the primaries of red and blue exchanged, so the colors must be exchanged too."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    names = {bytes(profile[132 + 12 * k : 136 + 12 * k]): 132 + 12 * k for k in range(count)}
    profile[names[b"rXYZ"] : names[b"rXYZ"] + 4], profile[names[b"bXYZ"] : names[b"bXYZ"] + 4] = b"bXYZ", b"rXYZ"
    Image.new("RGB", (700, 600), (230, 90, 20)).save(tmp_path / "a.png", icc_profile=bytes(profile))
    prepare_photo(tmp_path / "a.png", tmp_path / "b.png")
    assert np.abs(pixels(tmp_path / "b.png")[300, 300] - (20, 90, 230)).max() <= 3
    with Image.open(tmp_path / "b.png") as image:
        assert "icc_profile" not in image.info


def test_an_opaque_alpha_channel_is_dropped_and_a_partly_transparent_photo_refused(
    tmp_path: Path, write_photo: WritePhoto
) -> None:
    image = Image.open(write_photo(tmp_path / "a.png")).convert("RGBA")
    image.save(tmp_path / "opaque.png")
    prepare_photo(tmp_path / "opaque.png", tmp_path / "b.png")
    image.putpixel((5, 5), (0, 0, 0, 100))
    image.save(tmp_path / "holes.png")
    with pytest.raises(PhotoError, match="transparent"):
        prepare_photo(tmp_path / "holes.png", tmp_path / "c.png")


def test_what_cannot_serve_is_refused_and_leaves_nothing_behind(tmp_path: Path, write_photo: WritePhoto) -> None:
    whole = write_photo(tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not a photo")
    (tmp_path / "empty.jpg").write_bytes(b"")
    Image.open(tmp_path / "whole.jpg").convert("L").save(tmp_path / "gray.jpg")
    write_photo(tmp_path / "small.jpg", (900, 500))
    bomb = bytearray((write_photo(tmp_path / "small.png", (600, 600))).read_bytes())
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "bomb.png").write_bytes(bomb)
    (tmp_path / "out").mkdir()
    for name in ["truncated.jpg", "text.jpg", "empty.jpg", "gray.jpg", "small.jpg", "bomb.png"]:
        with pytest.raises(PhotoError):
            prepare_photo(tmp_path / name, tmp_path / "out" / "x.png")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("artist", "name"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("© 2019-2021 Štefan Lovelace, all rights reserved.", "Štefan Lovelace"),
        ("  ", None),
    ],
)
def test_the_photographer_is_read_from_exif(
    tmp_path: Path, write_photo: WritePhoto, artist: str, name: str | None
) -> None:
    assert exif_author(write_photo(tmp_path / "a.jpg", artist=artist)) == name
