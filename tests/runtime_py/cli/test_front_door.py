"""The names in `pocketcrafter`: what they cost, that they are there for people and type checkers, and the examples."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import pocketcrafter as pc

ROOT = Path(__file__).parents[3]
PHOTO = ROOT / "tests/photos/bridge_dim_and_cool.jpg"
GUIDE = ROOT / "docs/python-api.md"
LARGE = ("click", "numpy", "onnxruntime", "PIL", "pydantic")
MOST_SECONDS = 0.05


def test_importing_the_package_is_quick_and_imports_nothing_large() -> None:
    script = (
        "import sys, time; start = time.process_time(); import pocketcrafter as pc; "
        f"print(time.process_time() - start, *[name for name in {LARGE} if name in sys.modules])"
    )
    done = [
        subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert min(float(seconds) for seconds, *_ in done) < MOST_SECONDS
    assert [loaded for _, *loaded in done] == [[], [], []]


def test_every_public_name_is_there_and_no_other() -> None:
    assert dir(pc) == sorted(pc.__all__)
    for name in pc.__all__:
        assert getattr(pc, name) is not None
    assert pc.__version__ == version("pocketcrafter")
    with pytest.raises(AttributeError, match="no attribute 'Pipelin'"):
        pc.Pipelin  # noqa: B018


def test_type_checkers_see_the_names_that_programs_get() -> None:
    tree = ast.parse(Path(pc.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    checked = {"__version__": version("pocketcrafter")}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            scope: dict[str, Any] = {}
            exec(compile(ast.Module([node], []), pc.__file__, "exec"), scope)  # noqa: S102 - our own source
            checked |= {alias.asname or alias.name: scope[alias.asname or alias.name] for alias in node.names}
    assert checked == {name: getattr(pc, name) for name in pc.__all__}


def test_the_guides_examples_run(
    whole_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    (tmp_path / "build").mkdir()
    (tmp_path / "build/default.pcbundle").symlink_to(whole_bundle)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(examples) > 5
    scope: dict[str, Any] = {}
    for number, example in enumerate(examples):
        exec(compile(example, f"{GUIDE.name}, example {number}", "exec"), scope)  # noqa: S102 - our own words
    told = capsys.readouterr().out
    assert "EV" in told
    assert "missing.jpg: there is no such file" in told
    assert {"enhanced.jpg", "enhanced.png", "mirrored.jpg", "plan.json"} <= {path.name for path in tmp_path.iterdir()}


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "a value out of range": (lambda _: pc.EditPlan(exposure_ev=9), "EditPlan: exposure_ev: 9 is out of range"),
    "a value of text": (lambda _: pc.EditPlan(contrast="much"), "contrast: `much` is not a number"),
    "an unknown value": (lambda _: pc.EditPlan(exposre=1), "did you mean `exposure_ev`"),
    "a crop without sides": (lambda _: pc.CropBox(left=0), "CropBox:\n  top: missing"),
    "a strength for a plan": (lambda _: pc.EditPlan().scaled("a"), "strength is a number from 0 to 1000, not of str"),
    "a vector of text": (lambda _: pc.EditPlan.from_vector("a"), "numpy array of finite numbers"),
    "no plan to describe": (lambda _: pc.describe(5), "says an EditPlan in words; this is of int"),
    "a plan of values without names": (lambda _: pc.EditPlan(0.5), "EditPlan: values are given by their names"),
    "a crop of four numbers": (
        lambda _: pc.EditPlan(crop=(0, 0, 9, 9)),
        "crop: a tuple is not a mapping; its keys are le",
    ),
    "no critique": (lambda _: pc.Critique(score=101), "score: 101 is out of range"),
    "a bundle of number": (lambda _: pc.Pipeline.open(5), "A bundle is a path"),
    "no bundle": (lambda _: pc.Bundle.open(5), "A bundle is a path"),
    "threads of text": (lambda _: pc.Pipeline.open("x", threads="2"), "number of threads is a number"),
    "pixels in a list": (lambda _: pc.Photo(pixels=[[1]]), "pixels are a numpy array, not of list"),
    "nothing to load": (lambda _: pc.load(5), "No photo can be made of int"),
    "strength of text": (lambda p: p.enhance(PHOTO, strength="a"), "strength is a number from 0 to 2, not of str"),
    "too much strength": (lambda p: p.enhance(PHOTO, strength=3), "strength is from 0 to 2, not 3"),
    "a critique for a plan": (lambda p: p.enhance(PHOTO, plan=p.critique(PHOTO)), "of Critique: give its `plan`"),
    "a mapping for a plan": (lambda p: p.enhance(PHOTO, plan={}), "this is of dict: pc.EditPlan"),
    "prose of no mode": (lambda p: p.prose(PHOTO, mode="long"), "No prose is called 'long'"),
    "no place to save": (lambda p: p.enhance(PHOTO, strength=0).save(5), "Where to save is a path"),
}


@pytest.mark.parametrize("call", WRONG)
def test_what_is_given_wrongly_is_told_by_an_error_of_our_own(call: str, whole_bundle: Path) -> None:
    run, told = WRONG[call]
    with pytest.raises(pc.errors.PocketCrafterError, match=re.escape(told)):
        run(pc.Pipeline.open(whole_bundle))


def test_a_result_does_not_replace_its_photo_unless_that_is_said(whole_bundle: Path, tmp_path: Path) -> None:
    photo, link = tmp_path / "photo.jpg", tmp_path / "link.jpg"
    shutil.copy(PHOTO, photo)
    link.symlink_to(photo)
    before = photo.read_bytes()
    made = pc.Pipeline.open(whole_bundle).enhance(photo, plan=pc.EditPlan(exposure_ev=0.5))
    for path in (photo, link):
        with pytest.raises(pc.errors.PhotoError, match="overwrite=True"):
            made.save(path)
    assert photo.read_bytes() == before
    made.save(tmp_path / "other.jpg")
    made.save(photo, overwrite=True)
    assert photo.read_bytes() == (tmp_path / "other.jpg").read_bytes() != before
