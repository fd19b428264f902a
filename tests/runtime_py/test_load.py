"""Photos from paths, the content of files, Pillow's images and arrays; and what is told of anything else."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo import Photo, PhotoFormat, decode, load, save

PIXELS = skimage.data.astronaut()[:90, :120].copy()


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", quality=95)
    return tmp_path / "a.jpg"


def test_a_path_is_text_or_path_and_bytes_are_a_files_content(jpeg: Path) -> None:
    expected = decode(jpeg)
    for source in (jpeg, str(jpeg), jpeg.read_bytes()):
        photo = load(source)
        assert np.array_equal(photo.pixels, expected.pixels)
        assert photo.source_format is PhotoFormat.JPEG
    assert load(str(jpeg)).path == jpeg
    assert load(jpeg.read_bytes()).path is None
    assert load(expected) is expected


def test_integers_are_taken_as_they_are_and_floats_become_the_nearest_of_65535_steps() -> None:
    assert load(PIXELS).pixels is PIXELS
    wide = PIXELS.astype(np.uint16) * 257
    assert np.array_equal(load(wide).pixels, wide)
    for dtype in (np.float32, np.float64):
        assert np.array_equal(load((wide / 65535).astype(dtype)).pixels, wide)
    half = load((PIXELS / 255).astype(np.float16)).pixels
    assert np.abs(half.astype(int) - wide).max() <= 17, "float16 has 11 bits"
    # What a resampling leaves beside the range by rounding is in it.
    edge = np.full((2, 2, 3), np.nextafter(np.float32(1), np.float32(2)))
    assert load(edge).pixels.min() == 65535


def test_an_array_that_lies_otherwise_in_memory_is_put_in_order() -> None:
    mirrored = PIXELS[:, ::-1]
    pixels = load(mirrored).pixels
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, mirrored)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (PIXELS[..., 0], r"shape \(90, 120\).*np.stack"),
        (PIXELS[..., :1], r"shape \(90, 120, 1\).*np.repeat"),
        (np.zeros((9, 8, 4), np.uint8), r"shape \(9, 8, 4\).*alpha=rgba\[\.\.\., 3\]"),
        (PIXELS.transpose(2, 0, 1), r"shape \(3, 90, 120\).*transpose\(1, 2, 0\)"),
        (PIXELS[None], r"shape \(1, 90, 120, 3\).*array\[0\]"),
        (np.zeros((0, 8, 3), np.uint8), r"it is empty"),
        (np.zeros(12), r"shape \(12,\)"),
        (PIXELS.astype(np.int64), r"Arrays of int64 .*uint8, uint16, or floats in \[0, 1\]"),
        (PIXELS > 9, r"Arrays of bool"),
        (PIXELS.astype(np.float32), r"lie in \[0, 237\].*divide them by their white"),
        (PIXELS / 255.0 - 0.5, r"lie in \[-0.5, 0.429412\]"),
        (np.full((4, 4, 3), np.nan), r"48 of the array's 48 values are NaN or infinite"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), r"20000×20000 is over the limit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_arrays_are_refused_with_what_to_do(array: np.ndarray, told: str) -> None:
    with pytest.raises(PhotoError, match=told):
        load(array)


@pytest.mark.parametrize("source", [None, 3, [[[0, 0, 0]]], Image], ids=str)
def test_other_things_are_refused_with_what_is_taken(source: object) -> None:
    told = rf"of {type(source).__name__} objects\. Give a path .* Pillow image, or an array"
    with pytest.raises(PhotoError, match=told):
        load(source)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pillow_images_are_read_as_the_file_that_holds_the_same(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200)
    else:
        image = Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]])).convert(mode)
    assert image.mode == mode
    file = io.BytesIO()
    image.save(file, "PNG")
    expected, photo = decode(file.getvalue()), load(image)
    assert np.array_equal(photo.pixels, expected.pixels)
    assert photo.pixels.dtype == expected.pixels.dtype
    assert (photo.alpha is None) == (expected.alpha is None)
    assert photo.path is None


def test_a_pillow_image_is_turned_upright_and_keeps_its_profile(rgb_profile: Callable[[str], bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", exif=exif, icc_profile=rgb_profile("display-p3"))
    photo = load(Image.open(file))
    assert np.array_equal(photo.pixels, np.rot90(PIXELS, -1))
    assert photo.icc == rgb_profile("display-p3")


@pytest.mark.parametrize("mode", ["CMYK", "F", "HSV", "YCbCr"])
def test_a_pillow_image_of_another_mode_is_refused_with_what_to_do(mode: str) -> None:
    with pytest.raises(PhotoError, match=rf"mode {mode} .*the file they came from.*convert\(\"RGB\"\)"):
        load(Image.new(mode, (8, 8)))


def test_a_pillow_image_of_a_damaged_file_is_a_typed_error(jpeg: Path) -> None:
    image = Image.open(io.BytesIO(jpeg.read_bytes()[:900]))
    with pytest.raises(PhotoError, match="cannot be read"):
        load(image)


@pytest.mark.parametrize(
    ("planes", "told"),
    [
        ({"pixels": PIXELS[..., 0]}, r"shape \(H, W, 3\), not \(90, 120\)"),
        ({"pixels": PIXELS / 255}, "uint8 or uint16, not float64"),
        ({"pixels": PIXELS, "alpha": PIXELS}, r"not of \(90, 120, 3\)"),
        ({"pixels": PIXELS, "alpha": PIXELS[..., 0].astype(np.uint16)}, "uint16"),
    ],
    ids=["grey", "floats", "three-alphas", "deeper-alpha"],
)
def test_a_photo_is_made_of_planes_that_fit(planes: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(PhotoError, match=told):
        Photo(**planes)


def test_a_photo_as_it_was_read_is_copied_and_one_with_other_pixels_is_written_anew(jpeg: Path) -> None:
    photo = load(jpeg)
    assert save(photo, jpeg.with_name("same.jpg")) == ()
    assert jpeg.with_name("same.jpg").read_bytes() == jpeg.read_bytes()
    save(photo, str(jpeg.with_name("other.png")))
    assert Image.open(jpeg.with_name("other.png")).format == "PNG"
    dark = photo.with_pixels(photo.pixels // 2)
    assert dark.path is None
    save(dark, jpeg.with_name("dark.jpg"))
    assert np.asarray(Image.open(jpeg.with_name("dark.jpg"))).mean() == pytest.approx(PIXELS.mean() / 2, abs=2)
