"""A pair says what taught it: its bundles carry those licences, and none is made for commerce against them."""

import importlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import yaml

from pocketcrafter.export.families.inference import write_recipe
from pocketcrafter.export.families.latent.plan import infer_recipe
from pocketcrafter.export.recipe import Recipe, load_recipe
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.targets import TargetKind

sys.path.insert(0, str(Path(__file__).parent))
twin = importlib.import_module("twin")

TEACHER = {"name": "SmartPhotoCrafter", "license": "CC-BY-NC-SA-4.0", "text": "CC-BY-NC-SA-4.0.txt"}


def taught(pair: Path, tmp_path: Path, *, commercial: bool, **teacher: str) -> Path:
    folder = Path(twin.copied(pair, tmp_path / "pair"))
    (folder / TEACHER["text"]).write_text("The whole text.")
    path = folder / "pair.yaml"
    said = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**said, "teachers": [{**TEACHER, **teacher}], "commercial": commercial}))
    return folder


def inferred(folder: Path) -> Recipe:
    return infer_recipe(folder, [TargetKind("onnx")])


def test_a_recipe_has_the_licence_of_each_teacher(pair: Path, tmp_path: Path) -> None:
    write_recipe(inferred(taught(pair, tmp_path, commercial=False)), tmp_path / "recipe.yaml")
    recipe = load_recipe(tmp_path / "recipe.yaml")
    text = recipe.licenses[-1]
    assert (text.spdx, text.covers) == (TEACHER["license"], "the teacher SmartPhotoCrafter")
    assert (tmp_path / text.path).read_text() == "The whole text."
    assert [(s.name, s.license) for s in recipe.training_data.sources] == [(TEACHER["name"], TEACHER["license"])]


def test_a_teacher_that_forbids_commerce_stops_a_commercial_bundle(pair: Path, tmp_path: Path) -> None:
    told = r"non-commercial use alone: the teacher SmartPhotoCrafter \(CC-BY-NC-SA-4\.0\)"
    with pytest.raises(ConfigError, match=told):
        inferred(taught(pair, tmp_path, commercial=True))


def test_one_that_allows_it_does_not(pair: Path, tmp_path: Path) -> None:
    assert inferred(taught(pair, tmp_path, commercial=True, license="Apache-2.0")).commercial


def test_a_licence_without_its_text_is_refused(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pair\.yaml: teachers: no file absent\.txt"):
        inferred(taught(pair, tmp_path, commercial=False, text="absent.txt"))
