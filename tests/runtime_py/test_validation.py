"""What is said of configurations and results that are not valid: place, fault and remedy, in plain words."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from pocketcrafter.benchmarks.estimate.roofline import load_socs
from pocketcrafter.benchmarks.latency.results import read_latency
from pocketcrafter.export.data.manifest import MANIFEST_NAME, load_manifest
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.export.train.learning import read_points
from pocketcrafter.runtime.attribute_gate import read_gate
from pocketcrafter.runtime.bundle.manifest import parse_manifest
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import PocketCrafterError
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.validation import check, check_json

PYDANTIC = re.compile(r"Value error|Input should|should match|Field required|validation error|pydantic|Extra inputs")


class Inner(Config):
    """A part of the example."""

    size: int = Field(1, ge=1, le=8)
    kind: Literal["plain", "fancy"] = "plain"


class Example(Config):
    """Every kind of field that our models have."""

    name: str = Field("a", pattern="^[a-z]+$", min_length=1, max_length=5)
    attribute: Attribute = Attribute.TINT
    bits: Literal[2, 4, 8] = 4
    parts: Mapping[str, Inner] = {}
    numbers: tuple[float, ...] = Field((), max_length=2)
    on: bool = False
    path: Path = Path()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"nam": "x"}, "x: nam: unknown key; did you mean `name`?"),
        ({"parts": {"a": {"sise": 1}}}, "x: parts.a.sise: unknown key; did you mean `size`?"),
        ({"parts": {"a": {"qqq": 1}}}, "x: parts.a.qqq: unknown key; valid keys are size, kind"),
        ({"parts": {"a": {"size": 9}}}, "x: parts.a.size: 9 is out of range; it must be from 1 to 8"),
        ({"parts": {"a": {"size": 0.5}}}, "x: parts.a.size: 0.5 is not a whole number"),
        ({"parts": {"a": {"size": "big"}}}, "x: parts.a.size: `big` is not a whole number"),
        ({"parts": {"a": {"kind": "fanzy"}}}, "x: parts.a.kind: `fanzy` is not allowed; did you mean `fancy`?"),
        ({"parts": {"a": 3}}, "x: parts.a: 3 is not a mapping; its keys are size, kind"),
        ({"parts": []}, "x: parts: a list is not a mapping"),
        ({"bits": 3}, "x: bits: 3 is not allowed; allowed are 2, 4, 8"),
        ({"attribute": "denois"}, "x: attribute: `denois` is not allowed; did you mean `denoise`?"),
        ({"numbers": [1, 2, 3]}, "x: numbers: 3 entries; 2 at most are allowed"),
        ({"numbers": [float("nan")]}, "x: numbers.0: nan is not a finite number"),
        ({"numbers": ["x"]}, "x: numbers.0: `x` is not a number"),
        ({"numbers": None}, "x: numbers: null is not a list"),
        ({"on": "perhaps"}, "x: on: `perhaps` is not true or false"),
        ({"path": 3}, "x: path: 3 is not a path"),
        ({"name": ""}, "x: name: `` is too short; it needs 1 characters or more"),
        ({"name": 3}, "x: name: 3 is not text"),
        ({"name": "A"}, "x: name: `A` has characters or a form that are not allowed here; the pattern is ^[a-z]+$"),
        ([], "x: a list is not a mapping; its keys are name, attribute, bits, parts, numbers, on, path"),
        ({"on": 7, "bits": 3}, "x:\n  bits: 3 is not allowed; allowed are 2, 4, 8\n  on: 7 is not true or false"),
    ],
)
def test_each_fault_is_told_with_its_place_and_what_is_allowed(raw: object, told: str) -> None:
    with pytest.raises(PocketCrafterError) as caught:
        check(Example, raw, "x")
    assert str(caught.value) == told


def test_a_fault_that_is_repeated_a_thousand_times_does_not_fill_the_screen() -> None:
    with pytest.raises(PocketCrafterError, match="and 980 more") as caught:
        check(Example, {"numbers": 1, "parts": dict.fromkeys(map(str, range(999)), 1)}, "x")
    assert len(str(caught.value).splitlines()) == 22


def test_text_that_is_not_json_is_told_as_that() -> None:
    with pytest.raises(PocketCrafterError, match="x: not JSON: "):
        check_json(Example, "{", "x")


@pytest.mark.parametrize(
    "text", ['{"bits": true}', '{"bits": "4"}', '{"on": 1}', '{"numbers": ["0.5"]}', '{"name": 3}']
)
def test_json_of_another_type_is_not_converted(text: str) -> None:
    with pytest.raises(PocketCrafterError, match=r"^x: "):
        check_json(Example, text, "x")


@pytest.mark.parametrize("size", ["true", '"4"', "1.5"])
def test_a_size_in_json_that_is_no_whole_number_is_refused(size: str) -> None:
    with pytest.raises(PocketCrafterError, match=r"x: size: .* is not a whole number"):
        check_json(Inner, f'{{"size": {size}}}', "x")


def _manifest(folder: Path) -> object:
    return parse_manifest(json.dumps({"schema_version": "one", "name": "No Name!", "files": 3}).encode(), str(folder))


def _recipe(folder: Path) -> object:
    path = folder / "own.yaml"
    path.write_text(f"extends: {DEFAULT_RECIPE.name}\nname: Not a Name\ngates: {{coverage: 2}}\ntargets: [onnxx]\n")
    return load_recipe(path)


def _plan(folder: Path) -> object:
    return check(EditPlan, {"exposure_ev": 9, "denoise": "much"}, str(folder))


def _gate(folder: Path) -> object:
    path = folder / "gate.json"
    path.write_text('{"attributes": {"denoise": {"presence": 2}}}')
    return read_gate(path)


def _result(folder: Path) -> object:
    path = folder / "latency.json"
    path.write_text('{"label": "no", "machine": 3}')
    return read_latency(path)


def _photos(folder: Path) -> object:
    (folder / MANIFEST_NAME).write_text('{"records": [{"file": "../x"}]}')
    return load_manifest(folder)


def _points(folder: Path) -> object:
    path = folder / "points.jsonl"
    path.write_text('{"photos": -1}\n')
    return read_points(path)


def _chips(folder: Path) -> object:
    path = folder / "socs.yaml"
    path.write_text("SM1: {int8_tops: none}\n")
    return load_socs(path)


READERS = (_manifest, _recipe, _plan, _gate, _result, _photos, _points, _chips)


@pytest.mark.parametrize("read", READERS)
def test_what_people_read_of_a_bad_file_is_our_own_words(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(PocketCrafterError) as caught:
        read(tmp_path)
    told = str(caught.value)
    assert str(tmp_path) in told
    assert not PYDANTIC.search(told), told
