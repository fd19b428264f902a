"""The measurement of levelling and framing, with networks whose answers are known."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketcrafter.benchmarks.composition import (
    MAX_TILT_DEGREES,
    SCALE,
    Figures,
    framed,
    measure,
    missed_bars,
    summarize,
    table,
    tilted,
)
from pocketcrafter.runtime.arrays import FloatArray

PHOTOS = Path(__file__).parents[2] / "photos"


class Constant:
    """Always answers the same tilt, and likes dark pictures."""

    def __init__(self, tilt: float, confidence: float) -> None:
        self.said = {"tilt": tilt, "confidence": confidence}

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        score = -float((inputs["view"][0] * inputs["inside"][0]).mean())
        return {name: np.full((1, 1), value, np.float32) for name, value in (self.said | {"score": score}).items()}


@pytest.fixture
def spot(tmp_path: Path) -> Path:
    """A photo whose middle is black: the centered crop is always the darkest."""
    pixels = np.full((300, 450, 3), 255, np.uint8)
    pixels[135:165, 210:240] = 0
    path = tmp_path / "spot.png"
    Image.fromarray(pixels).save(path)
    return path


def test_tilts_cover_the_range_evenly_and_nothing_empty_is_shown() -> None:
    white = np.full((200, 300, 3), 255, np.uint8)
    frames = list(tilted(white, 8, np.random.default_rng(0)))
    degrees = [d for _, d in frames]
    assert [int((d + MAX_TILT_DEGREES) // 2) for d in degrees] == list(range(8))
    assert all(frame.min() == 255 for frame, _ in frames)


def test_shifted_crops_are_as_large_as_the_centered_one_and_elsewhere() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    centered, shifted = framed(pixels, 12, np.random.default_rng(1))
    assert centered.shape[1] == pytest.approx(SCALE * 0.96 * 300, abs=1)
    for crop in shifted:
        assert crop.shape == centered.shape
        assert not np.array_equal(crop, centered)


def test_figures_of_always_zero_are_the_mean_tilt(spot: Path) -> None:
    figures = summarize(measure(Constant(0.0, 0.1), [spot], per_photo=4, seed=3))
    assert figures.tilt_mae_degrees == figures.zero_mae_degrees
    assert figures.sure_share == 0
    assert figures.sure_mae_degrees is None
    assert figures.turned_share == 0
    assert figures.turned_left_degrees is None
    assert figures.originals_turned_share == 0


def test_a_sure_wrong_answer_shows_in_every_figure(spot: Path) -> None:
    figures = summarize(measure(Constant(9.0, 0.99), [spot], per_photo=4, seed=3))
    assert figures.sure_share == figures.turned_share == figures.originals_turned_share == 1
    assert figures.sure_mae_degrees == figures.tilt_mae_degrees == figures.turned_left_degrees
    assert figures.turned_before_degrees == figures.zero_mae_degrees
    assert figures.turned_worse_share is not None
    assert figures.turned_worse_share >= 0.5
    assert figures.sure_mae_degrees > figures.zero_mae_degrees


class Counting(Constant):
    """Is right, and sure, of the frames that lean to one side."""

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        self.calls = getattr(self, "calls", -1) + 1
        self.said = {"tilt": -7.0 + 2 * (self.calls % 8), "confidence": 0.9 if self.calls % 8 < 4 else 0.2}
        if self.calls % 8 >= 4:
            self.said["tilt"] = -8.0
        return super().run(inputs)


def test_the_surest_frames_are_those_of_the_highest_confidence(spot: Path) -> None:
    figures = summarize(measure(Counting(0, 0), [spot], per_photo=8, seed=3))
    assert figures.surest_mae_degrees <= 1
    assert figures.tilt_mae_degrees > 4


def test_the_framing_figure_counts_wins_of_the_centered_crop(tmp_path: Path, spot: Path) -> None:
    bright = tmp_path / "bright.png"
    with Image.open(spot) as image:
        Image.fromarray(255 - np.asarray(image)).save(bright)
    # Every crop of the one holds all of the spot: equally dark but for resampling, so that only a lead counts.
    dark = np.zeros((300, 450, 3), np.uint8)
    dark[:40], dark[-40:] = 255, 255
    Image.fromarray(dark).save(spot)
    assert summarize(measure(Constant(0, 0), [spot], per_photo=8, seed=0)).original_wins_share > 0.7
    Image.fromarray(255 - dark).save(bright)
    assert summarize(measure(Constant(0, 0), [bright], per_photo=8, seed=0)).original_wins_share < 0.3


def test_bars_and_table_say_what_was_missed() -> None:
    figures = Figures(
        photos=2,
        tilt_mae_degrees=2.5,
        zero_mae_degrees=4.0,
        surest_mae_degrees=1.75,
        sure_share=0.0,
        sure_mae_degrees=None,
        sure_right_share=None,
        sure_gross_share=None,
        turned_share=0.0,
        turned_before_degrees=None,
        turned_left_degrees=None,
        turned_worse_share=None,
        originals_turned_share=0.0,
        original_wins_share=0.8,
        original_stays_share=1.0,
    )
    (missed,) = missed_bars(figures)
    assert "1.75°" in missed
    assert "| MAE over those | none |" in table(figures)
    assert missed_bars(figures.model_copy(update={"surest_mae_degrees": 1.4})) == []


def test_a_real_photo_is_measured_alike_twice() -> None:
    photo = [PHOTOS / "mountains_as_they_are.jpg"]
    assert measure(Constant(1.0, 0.5), photo, 2, 7) == measure(Constant(1.0, 0.5), photo, 2, 7)
