"""Facts of a frame: where what stands out lies."""

import numpy as np
import pytest

from pocketcrafter.runtime.geometry.decide import frame_facts, salience
from pocketcrafter.runtime.plan import CropBox

WHOLE = CropBox(left=0, top=0, right=600, bottom=400)


def spot(x: int, y: int) -> np.ndarray:
    pixels = np.full((400, 600, 3), (90, 110, 90), np.uint8)
    pixels[y - 30 : y + 30, x - 30 : x + 30] = (220, 60, 40)
    return pixels


def test_the_mass_of_a_spot_is_where_the_spot_is() -> None:
    facts = frame_facts(salience(spot(200, 270)), 600, 400, WHOLE)
    assert facts.center == pytest.approx((200 / 600, 270 / 400), abs=0.03)
    assert facts.to_third < 0.05
    assert facts.to_middle == pytest.approx(np.hypot(1 / 6, 0.175), abs=0.04)
    assert facts.at_border < 0.02
    assert facts.kept == 1


def test_a_box_through_the_spot_cuts_it() -> None:
    through = CropBox(left=0, top=0, right=200, bottom=400)
    facts = frame_facts(salience(spot(200, 270)), 600, 400, through)
    assert facts.at_border > 0.1
    assert facts.kept == pytest.approx(0.5, abs=0.1)


def test_a_box_without_the_spot_keeps_nothing_of_it() -> None:
    facts = frame_facts(salience(spot(200, 270)), 600, 400, CropBox(left=400, top=0, right=600, bottom=400))
    assert facts.kept < 0.05


def test_a_blank_photo_has_no_salient_place() -> None:
    facts = frame_facts(
        salience(np.full((50, 80, 3), 128, np.uint8)), 80, 50, CropBox(left=0, top=0, right=80, bottom=50)
    )
    assert (facts.center, facts.kept) == ((0.5, 0.5), 0.0)
