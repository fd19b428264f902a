"""A pair beside a teacher's pictures: what is like them, what goes away from them, and labels without any."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from PIL import Image

from pocketcrafter.benchmarks.label_likeness import likeness_text, measure_likeness
from pocketcrafter.export.labels.store import Label
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.photo.model import Photo

_NONE = np.zeros(0, np.int32)


def label(before: int, after: int | None) -> Label:
    shown = [None if level is None else Image.new("RGB", (24, 16), (level,) * 3) for level in (before, after)]
    return Label("0" * 64, "a.png", "", _NONE, _NONE, np.zeros(12, np.float32), None, *shown, 0.1)


def pair(edit: Callable[[Any], Any]) -> Any:
    return SimpleNamespace(enhance=lambda photo: SimpleNamespace(photo=Photo(edit(photo.pixels))))


def test_what_a_pair_takes_of_the_way_to_the_teachers_pictures_is_kept() -> None:
    labels = [label(100, 140), label(60, 100)]
    half = measure_likeness(pair(lambda pixels: pixels + np.uint8(20)), labels)
    whole = measure_likeness(pair(lambda pixels: pixels + np.uint8(40)), labels)
    none = measure_likeness(pair(lambda pixels: pixels), labels)
    away = measure_likeness(pair(lambda pixels: pixels - np.uint8(20)), labels)
    assert (whole.kept, none.kept, none.changed) == (1, 0, 0)
    assert 0.4 < half.kept < 0.6
    assert (half.nearer, half.farther, away.nearer, away.farther) == (1, 0, 0, 1)
    assert "keeps 100% of the teacher's change" in likeness_text(whole)


def test_labels_without_pictures_say_nothing() -> None:
    with pytest.raises(ConfigError, match="No label has a picture"):
        measure_likeness(pair(lambda pixels: pixels), [label(10, None)])
