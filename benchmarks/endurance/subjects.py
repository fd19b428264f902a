"""Commands that are disturbed while they write: what each is given, and where its results lie."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from pocketcrafter.benchmarks.common.names import SubjectName
from pocketcrafter.runtime.photo import Photo, encode

RESULTS: Final = "results"
"""The folder in a room that is compared with that of an undisturbed run."""
_GIVEN: Final = "given"
_SUFFIXES: Final = (".jpg", ".png", ".webp")
_TRAINING_SIDES: Final = (720, 560)


@dataclass(frozen=True)
class Subject:
    """A command in a room of its own.

    Attributes
    ----------
    name
        What it is called.
    prepare
        Puts what the command reads into a room.
    arguments
        The command line for a room; results go to its folder `RESULTS`.
    goes_on
        Whether a run that was ended is gone on with. Then the runs of a room are killed one after the other, and the
        last one finishes the work; others start in a new room each.
    """

    name: SubjectName
    prepare: Callable[[Path], None]
    arguments: Callable[[Path], Sequence[object]]
    goes_on: bool


def enhance(bundle: Path, photos: int) -> Subject:
    """Return ``enhance`` of photos in three formats, with a contact sheet."""
    return Subject(
        SubjectName.ENHANCE,
        lambda room: _photos(room / _GIVEN, photos, (480, 360)),
        lambda room: (
            *("enhance", room / _GIVEN, "--bundle", bundle, "--threads", 1, "--json"),
            *("-o", room / RESULTS, "--sheet", room / RESULTS / "sheet.jpg"),
        ),
        goes_on=False,
    )


def data_prepare(photos: int) -> Subject:
    """Return ``data prepare`` of a folder of photos."""
    return Subject(
        SubjectName.DATA,
        lambda room: _photos(room / _GIVEN, photos, _TRAINING_SIDES),
        lambda room: (
            *("data", "prepare", "--source", "none", "--photos", room / _GIVEN, "--out", room / RESULTS),
            *("--jobs", 1, "--json"),
        ),
        goes_on=True,
    )


def train(data: Path, steps: int) -> Subject:
    """Return ``train restore`` of a few steps on prepared photos."""
    return Subject(
        SubjectName.TRAIN,
        _nothing,
        lambda room: (
            *("train", "restore", "--data", data, "--run", room / "run", "--weights", room / RESULTS),
            *("--steps", steps, "--threads", 1, "--device", "cpu", "--json"),
        ),
        goes_on=True,
    )


def build(recipe: Path) -> Subject:
    """Return ``build`` of a recipe for its ``onnx`` target."""
    return Subject(
        SubjectName.BUILD,
        _nothing,
        lambda room: (
            *("build", "--recipe", recipe, "--target", "onnx", "--jobs", 1, "--json"),
            *("--stages", room / "stages", "--out", room / RESULTS),
        ),
        goes_on=True,
    )


def _nothing(_room: Path) -> None:
    """Put nothing into a room: what the command reads lies elsewhere."""


def _photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Draw dark, colorful photos, which have something done to them."""
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        small = Image.fromarray(rng.integers(0, 120, (12, 16, 3), dtype=np.uint8))
        pixels = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
        grain = rng.integers(-6, 7, pixels.shape, dtype=np.int16)
        noisy = np.clip(pixels + grain, 0, 255).astype(np.uint8)
        encode(Photo(noisy), folder / f"photo-{number:03d}{_SUFFIXES[number % len(_SUFFIXES)]}")
