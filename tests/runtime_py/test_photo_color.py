"""Wide-gamut photos are edited in their own RGB, odd ones become sRGB, and nobody's profile is ignored."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from pocketcrafter.runtime.photo import decode
from pocketcrafter.runtime.photo.color import handling_of, view_to_srgb

PIXELS = skimage.data.astronaut()[:200, :200]
Profile = Callable[[str], bytes]


def png(pixels: np.ndarray, icc: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", icc_profile=icc)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "handling"),
    [("srgb", "srgb"), ("display-p3", "native"), ("adobe-rgb", "native"), ("prophoto", "convert")],
)
def test_profiles_are_told_apart_by_what_they_do(name: str, handling: str, rgb_profile: Profile) -> None:
    assert handling_of(rgb_profile(name)) == handling


def test_untagged_and_standard_srgb_need_nothing() -> None:
    assert handling_of(None) == "srgb"
    assert handling_of(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()) == "srgb"


@pytest.mark.parametrize("name", ["display-p3", "adobe-rgb"])
def test_wide_gamut_photos_keep_values_and_profile(name: str, rgb_profile: Profile) -> None:
    photo = decode(png(PIXELS, rgb_profile(name)))
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert photo.icc == rgb_profile(name)


def test_prophoto_becomes_srgb_without_a_profile(rgb_profile: Profile) -> None:
    """A mid grey of gamma 1.8 is encoded brighter in sRGB: 0.5**1.8 → 0.574 = level 146."""
    photo = decode(png(np.full((8, 8, 3), 128, np.uint8), rgb_profile("prophoto")))
    assert photo.icc is None
    assert np.abs(photo.pixels.astype(int) - 146).max() <= 2


def test_views_of_display_p3_are_converted_by_the_published_matrix(rgb_profile: Profile) -> None:
    view = np.full((1, 3, 4, 4), 0.5, np.float32)
    view[0, 0] = 0.6
    linear = ((np.array([0.6, 0.5, 0.5]) + 0.055) / 1.055) ** 2.4
    # Display P3 to sRGB, both D65.
    matrix = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
    expected = 1.055 * (matrix @ linear) ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(view_to_srgb(view, rgb_profile("display-p3"))[0, :, 0, 0], expected, atol=1.5 / 255)


def test_a_damaged_profile_is_dropped_as_viewers_do() -> None:
    photo = decode(png(PIXELS, b"not a profile at all" * 20))
    assert photo.icc is None
    np.testing.assert_array_equal(photo.pixels, PIXELS)


def test_a_grey_photo_with_an_rgb_profile_is_still_grey(rgb_profile: Profile) -> None:
    photo = decode(png(PIXELS[..., 0], rgb_profile("display-p3")))
    assert photo.icc is None
    np.testing.assert_array_equal(photo.pixels[..., 1], PIXELS[..., 0])
