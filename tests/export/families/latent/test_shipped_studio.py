"""The latent studio as it ships: found by its name, built, and shown a photo and the same one underexposed."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from pocketcrafter.export.licenses import stated_license
from pocketcrafter.export.shipped import SHIPPED_PAIRS, WEIGHTS
from pocketcrafter.runtime import cli
from pocketcrafter.runtime.families import Pipeline
from pocketcrafter.runtime.latent.answer import LatentCritique
from pocketcrafter.runtime.photo import Photo, decode
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.render import render


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    out = folder / "studio.pcbundle"
    asked = ["build", "latent-studio", "--target", "onnx", "--out", str(out), "--stages", str(folder / "stages")]
    assert cli.run(asked) == 0
    return out


def test_it_is_small_enough_to_be_kept_with_the_code() -> None:
    for name in SHIPPED_PAIRS:
        files = [path for path in (WEIGHTS / name).rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) < 25e6
        assert (WEIGHTS / f"{name}.md").is_file()
        configs = [json.loads(path.read_text()) for path in files if path.name == "config.json"]
        assert not any(config.get("_name_or_path") for config in configs), "a folder of the machine that trained it"
        assert stated_license(WEIGHTS / name) == ("Apache-2.0", str(WEIGHTS / name / "LICENSE"))


def test_it_brightens_a_dark_photo_and_says_so(studio: Path, photos: list[Path]) -> None:
    """At 448 px, so that the edit is carried over from the artist's 128."""
    coffee = next(path for path in photos if path.stem == "coffee")
    pixels = cv2.resize(decode(coffee).pixels, (448, 448), interpolation=cv2.INTER_AREA)
    faulty = render(EditPlan(exposure_ev=-2), pixels.astype(np.float32) / 255)
    dark = Photo(np.rint(np.clip(faulty, 0, 1) * 255).astype(np.uint8))
    pipeline = Pipeline.open(studio)
    made = pipeline.enhance(dark).photo.pixels
    before, after = (np.abs(one.astype(int) - pixels).mean() for one in (dark.pixels, made))
    assert after < 0.5 * before
    critique = pipeline.critique(dark)
    assert isinstance(critique, LatentCritique)
    assert critique.prose is not None
    assert {said.attribute: said.direction for said in critique.prose.instructions}[Attribute.EXPOSURE] > 0


def test_a_local_folder_of_the_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "latent-studio").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.run(["build", "latent-studio", "--target", "onnx", "--dry-run"]) == 2
