"""A photo's way through levelling and cropping, with a network that is plain arithmetic."""

from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.geometry.composer import compose, framed, score_of, tilt_of
from pocketcrafter.runtime.geometry.overlay import captions, draw_overlay
from pocketcrafter.runtime.geometry.turn import LETTERBOX, letterboxed, working_copy
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import CropBox
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket


class Likes:
    """Has one opinion of the tilt, and finds a picture the better the redder it is."""

    def __init__(self, tilt: float = 0.0, confidence: float = 1.0, red: float = 0.0) -> None:
        self.tilt, self.confidence, self.red = tilt, confidence, red

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        for spec in POCKET_SPECS[Pocket.COMPOSITION].inputs:
            array = inputs[spec.name]
            assert array.shape == spec.shape
            assert array.dtype == np.float32
        redness = (inputs["view"][0, 0] * inputs["inside"][0, 0]).sum() / inputs["inside"].sum()
        said = {"tilt": self.tilt, "confidence": self.confidence, "score": self.red * redness}
        return {name: np.full((1, 1), value, np.float32) for name, value in said.items()}


@pytest.fixture
def red_on_the_right() -> Photo:
    pixels = np.full((800, 1200, 3), 60, np.uint8)
    pixels[500:700, 900:1100] = (250, 40, 40)
    return Photo(pixels)


def test_a_photo_that_is_level_and_well_framed_comes_back_as_it_is(red_on_the_right: Photo) -> None:
    composed = compose(Likes(tilt=0.3), red_on_the_right, crop=True)
    assert composed is not None
    assert (composed.box, composed.cropped, composed.turn_degrees, composed.reasons) == (None, False, 0.0, ())
    assert framed(red_on_the_right, composed.turn_degrees, composed.box) is red_on_the_right


def test_crops_are_judged_only_when_asked_for(red_on_the_right: Photo) -> None:
    composed = compose(Likes(tilt=6, red=300), red_on_the_right, crop=False)
    assert composed is not None
    assert composed.turn_degrees == 6
    assert composed.ranked == ()
    assert not composed.cropped
    assert len(captions(composed)) == 1


def test_an_unsure_tilt_is_told_and_not_carried_out(red_on_the_right: Photo) -> None:
    composed = compose(Likes(tilt=5, confidence=0.3), red_on_the_right, crop=True)
    assert composed is not None
    assert composed.tilt.degrees == 5
    assert composed.turn_degrees == 0
    assert composed.box is None


def test_what_the_network_likes_is_cropped_to_in_source_pixels(red_on_the_right: Photo) -> None:
    composed = compose(Likes(red=300), red_on_the_right, crop=True)
    assert composed is not None
    assert composed.cropped
    assert composed.box == composed.ranked[0].box
    assert composed.box.left <= 900
    assert composed.box.right >= 1100
    assert composed.box.bottom >= 700
    assert [r.worth for r in composed.ranked] == sorted((r.worth for r in composed.ranked), reverse=True)
    cropped = framed(red_on_the_right, composed.turn_degrees, composed.box)
    box = composed.box
    assert np.array_equal(cropped.pixels, red_on_the_right.pixels[box.top : box.bottom, box.left : box.right])
    before, after = composed.facts
    assert after.to_middle < before.to_middle
    assert composed.reasons


def test_a_turned_photo_keeps_no_empty_corner_and_its_opacity() -> None:
    pixels = np.full((300, 500, 3), 200, np.uint16)
    photo = Photo(pixels, alpha=np.full((300, 500), 65535, np.uint16))
    composed = compose(Likes(tilt=-6), photo, crop=True)
    assert composed is not None
    turned = framed(photo, composed.turn_degrees, composed.box)
    assert turned.pixels.min() == 200
    assert turned.alpha is not None
    assert turned.alpha.min() == 65535
    assert turned.alpha.shape == turned.pixels.shape[:2]
    assert turned.width / turned.height == pytest.approx(500 / 300, abs=0.02)


def test_a_crop_of_a_turned_photo_lies_in_what_the_turn_leaves(red_on_the_right: Photo) -> None:
    level = compose(Likes(tilt=7), red_on_the_right, crop=True)
    both = compose(Likes(tilt=7, red=300), red_on_the_right, crop=True)
    assert level is not None
    assert both is not None
    assert level.box is not None
    for ranked in both.ranked:
        assert level.box.left <= ranked.box.left < ranked.box.right <= level.box.right
        assert level.box.top <= ranked.box.top < ranked.box.bottom <= level.box.bottom
    assert framed(red_on_the_right, both.turn_degrees, both.box).pixels.min() > 0


@pytest.mark.parametrize("shape", [(1, 1), (40, 3000), (63, 64)])
def test_nothing_is_told_of_tiny_photos(shape: tuple[int, int]) -> None:
    photo = Photo(np.zeros((*shape, 3), np.uint8))
    assert compose(Likes(tilt=5), photo, crop=True) is None
    assert tilt_of(Likes(tilt=5), photo) is None


def test_answers_that_are_no_numbers_are_not_acted_on(red_on_the_right: Photo) -> None:
    tilt = tilt_of(Likes(tilt=float("nan")), red_on_the_right)
    assert tilt is not None
    assert not tilt.sure


def test_a_view_keeps_the_aspect_and_says_where_the_picture_is() -> None:
    pixels = np.full((300, 900, 3), 255, np.uint8)
    view, inside = letterboxed(pixels)
    assert view.shape == (1, 3, 256, 256)
    assert inside.sum() == 256 * 85
    assert np.all(view[0][:, inside[0, 0] == 1] == 1)
    assert np.all(view[0][:, inside[0, 0] == 0] == LETTERBOX)
    upright, _ = letterboxed(pixels, CropBox(left=0, top=0, right=100, bottom=300))
    assert np.all(upright[0, :, :, 128] == 1)
    assert np.all(upright[0, :, :, 20] == LETTERBOX)


def test_a_working_copy_is_small_eight_bit_and_never_enlarged() -> None:
    assert working_copy(Photo(np.zeros((2000, 3000, 3), np.uint16))).shape == (512, 768, 3)
    small = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    assert np.array_equal(working_copy(Photo(small)), small)


def test_scores_are_of_the_whole_picture(red_on_the_right: Photo) -> None:
    assert score_of(Likes(red=1), red_on_the_right) == pytest.approx(
        red_on_the_right.pixels[..., 0].mean() / 255, abs=0.01
    )


def test_the_overlay_shows_the_photo_the_chosen_box_and_the_words(red_on_the_right: Photo) -> None:
    composed = compose(Likes(tilt=6, red=300), red_on_the_right, crop=True)
    assert composed is not None
    drawn = draw_overlay(red_on_the_right, composed)
    assert isinstance(drawn, Image.Image)
    assert drawn.width == 768
    colors = {color for _, color in drawn.getcolors(1 << 20) or []}
    assert (255, 214, 64) in colors
    assert (90, 200, 255) in colors
    first, second, *rest = captions(composed)
    assert "turned +6.0°" in first
    assert "cropped" in second
    assert rest == [composed.reasons[0].words]
