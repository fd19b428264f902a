"""Facts are what a picture shows."""

import numpy as np
import pytest

from pocketcrafter.export.train.prose.facts import Colorfulness, Detail, Light, Palette, measure_facts


def flat(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.full((1, 32, 32, 3), rgb, np.uint8)


@pytest.mark.parametrize(
    ("level", "light"),
    [(20, Light.VERY_DARK), (75, Light.DARK), (120, Light.MIDDLE), (165, Light.BRIGHT), (230, Light.VERY_BRIGHT)],
)
def test_light_is_mean_luma(level: int, light: Light) -> None:
    assert measure_facts(flat((level, level, level)))[0].light is light


@pytest.mark.parametrize(
    ("rgb", "palette"),
    [
        ((90, 100, 130), Palette.COOL),
        ((100, 100, 100), Palette.BALANCED),
        ((120, 110, 90), Palette.WARM),
        ((200, 120, 60), Palette.VERY_WARM),
    ],
)
def test_palette_is_red_less_blue(rgb: tuple[int, int, int], palette: Palette) -> None:
    assert measure_facts(flat(rgb))[0].palette is palette


def test_colors_and_texture_are_told_from_gray_and_flat() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (1, 32, 32, 3), np.uint8)
    facts = measure_facts(np.concatenate([flat((128, 128, 128)), noise]))
    assert (facts[0].colorfulness, facts[0].detail) == (Colorfulness.MUTED, Detail.LITTLE)
    assert (facts[1].colorfulness, facts[1].detail) == (Colorfulness.VIVID, Detail.RICH)


def test_batches_do_not_matter() -> None:
    views = np.random.default_rng(1).integers(0, 255, (300, 4, 4, 3), np.uint8)
    assert measure_facts(views) == [measure_facts(v[None])[0] for v in views]
