"""Recipes: the shipped one is valid, and a wrong one is told what it should say."""

from pathlib import Path

import pytest
import yaml

from pocketcrafter.export.builder.graph import bundle_stage
from pocketcrafter.export.recipe import Recipe, load_recipe, resolve
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.export.yaml_file import read_yaml
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.targets import ONNX, TARGETS, TargetKind


def write(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(yaml.safe_load(DEFAULT_RECIPE.read_text()) | changes))
    return path


def test_the_shipped_recipe_makes_every_component_for_every_target() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    assert set(recipe.components) == set(Pocket)
    assert set(recipe.targets) <= set(recipe.buildable)
    assert set(recipe.buildable) == set(TARGETS)


def test_every_shipped_recipe_is_valid() -> None:
    for path in DEFAULT_RECIPE.parent.glob("*.yaml"):
        assert load_recipe(path).name == path.stem


def test_a_recipe_may_say_only_what_is_other(tmp_path: Path) -> None:
    tone = {"precision": {"onnx": "fp32"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"extends": "default.yaml", "components": {"tone": tone}}))
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"extends": "mine.yaml", "gates": {"coverage": 0.5}}))
    recipe, default = load_recipe(tmp_path / "more.yaml"), load_recipe(DEFAULT_RECIPE)
    assert recipe.gates == default.gates.model_copy(update={"coverage": 0.5})
    assert recipe.components[Pocket.CRITIC] == default.components[Pocket.CRITIC]
    changed = recipe.components[Pocket.TONE].precision
    assert changed == {**default.components[Pocket.TONE].precision, ONNX: Precision.FP32}


def test_a_family_names_its_targets_but_those_with_a_key_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    precision = {"qnn-context:*": "fp16", "qnn-context:sm8750": "a16w8"}
    path.write_text(yaml.safe_dump({"extends": "default.yaml", "components": {"tone": {"precision": precision}}}))
    made = load_recipe(path).components[Pocket.TONE].precision
    own = {target: made[target] for target in TARGETS if target.family == "qnn-context"}
    assert own.pop(TargetKind("qnn-context:sm8750")) is Precision.A16W8
    assert len(own) > 1
    assert set(own.values()) == {Precision.FP16}


def test_a_family_says_what_the_extended_recipe_says_of_single_targets_no_more(tmp_path: Path) -> None:
    target = "coreml:ios18"
    for name, under, key, precision in (("a", "default.yaml", target, "w4"), ("b", "a.yaml", "coreml:*", "fp16")):
        made = {"extends": under, "components": {"decoder": {"precision": {key: precision}}}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(made))
    of = {name: load_recipe(tmp_path / f"{name}.yaml").components[Pocket.DECODER].precision for name in "ab"}
    assert of["a"][TargetKind(target)] is Precision.W4
    assert of["b"][TargetKind(target)] is Precision.FP16


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("qnn-contxt:*", r"precision: `qnn-contxt:\*` matches no target; did you mean `qnn-context:\*`\?"),
        (
            "onnx:*",
            r"`onnx:\*` matches no target; families of targets are coreai:\*, coreml:\*, executorch-qnn:\*, qnn-",
        ),
        ("coreml:ios81", "there is no target `coreml:ios81`; did you mean `coreml:ios18`"),
    ],
)
def test_a_key_that_matches_no_target_is_told_with_the_nearest(tmp_path: Path, key: str, words: str) -> None:
    made = {"extends": "default.yaml", "components": {"tone": {"precision": {key: "fp16"}}}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(made))
    with pytest.raises(ConfigError, match=words):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("extends", "words"),
    [
        ("../default.yaml", "same folder, or a shipped one: default.yaml"),
        (3, "same folder"),
        ("other.yaml", "there is no"),
        ("r.yaml", "more than 4 times"),
    ],
)
def test_what_cannot_be_extended_is_told(tmp_path: Path, extends: object, words: str) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"extends": extends}))
    with pytest.raises(ConfigError, match=words):
        load_recipe(tmp_path / "r.yaml")


def test_bits_of_modules_need_a_precision_of_weights(tmp_path: Path) -> None:
    made = {"extends": "default.yaml", "components": {"tone": {"weight_bits": {"grid": 8}}}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(made))
    with pytest.raises(ConfigError, match="weight_bits: only 8da4w, w4, w8"):
        load_recipe(tmp_path / "r.yaml")
    made["components"] = {"decoder": {"weight_bits": {"logits": 5}}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(made))
    with pytest.raises(ConfigError, match="weight_bits"):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gatess": {}}, "gatess: unknown key; did you mean `gates`"),
        ({"gates": {"coverige": 1}}, "gates.coverige: unknown key; did you mean `coverage`"),
        ({"gates": {"zzz": 1}}, "gates.zzz: unknown key; valid keys are rung1_sqnr_db"),
        ({"targets": ["onnxx"]}, "there is no target `onnxx`; did you mean `onnx`?"),
        ({"targets": []}, "targets"),
        ({"components": {"critic": {"weight": "x"}}}, "components.critic.weight: unknown key; did you mean `weights`"),
        (
            {"components": {"critic": {"weights": "x", "precision": {"onnx": "int8"}}}},
            "says nothing about executorch-xnnpack",
        ),
        (
            {"targets": ["onnx"], "components": {"tone": {"weights": "x", "precision": {"onnx": "fp16"}}}},
            "onnx has no fp16",
        ),
        (
            {
                "targets": ["onnx"],
                "components": {"tone": {"weights": "x", "precision": {"onnx": "int8"}, "pictures": ["grit"]}},
            },
            "names no output: grit",
        ),
        ({"gates": {"coverage": float("nan")}}, "gates.coverage"),
        ({"name": "../up"}, "name"),
    ],
)
def test_a_wrong_recipe_says_where_and_what_is_valid(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path / "r.yaml", **changes))
    assert words in str(caught.value)
    assert "r.yaml" in str(caught.value)


@pytest.mark.parametrize("content", ["", "[1, 2", "- a", "!!python/object/apply:os.system ['true']", "\x00"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"r\.yaml"):
        load_recipe(path)


def test_a_file_beside_the_recipe_comes_before_the_packaged_one(tmp_path: Path) -> None:
    recipe = write(tmp_path / "r.yaml")
    packaged = resolve(recipe, "calibration/photos")
    assert packaged.is_dir()
    own = tmp_path / "calibration" / "photos"
    own.mkdir(parents=True)
    assert resolve(recipe, "calibration/photos") == own.resolve()


def test_the_project_license_is_found() -> None:
    assert "Apache License" in resolve(DEFAULT_RECIPE, "LICENSE").read_text()


def test_an_absent_file_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"weights/none\.safetensors"):
        resolve(write(tmp_path / "r.yaml"), "weights/none.safetensors")


def test_a_recipe_is_frozen() -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "x"  # type: ignore[misc]
    assert isinstance(recipe, Recipe)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("extends: default.yaml\ngates:\n  coverage: 0.5\n  coverage: 0.9\n", "line 4: the key `coverage` .* line 3"),
        ("extends: default.yaml\nname: a\n'name': b\n", "line 3: the key `name` .* line 2"),
        ("gates: {coverage: 0.5, coverage: 0.9}", "line 1: the key `coverage`"),
    ],
)
def test_a_key_given_twice_is_an_error(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"r.yaml: cannot be read as YAML: {told}"):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: 2026-02-30", "day is out of range"),
        ("name: !!float x", "could not convert"),
        ("name: !!bool x", "x"),
        ("name: !!int ''", "index out of range"),
        ("name: !!timestamp x", "groupdict"),
        ('name: "\\uD800"', "surrogates not allowed"),
        (f"name: 0x{'f' * 4000}", "limit"),
    ],
)
def test_values_that_the_yaml_library_stumbles_over_are_bad_input(tmp_path: Path, text: str, told: str) -> None:
    """Found by fuzzing: PyYAML lets Python's own errors out, and others come when a value is written again."""
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"r.yaml: cannot be read as YAML: .*{told}"):
        load_recipe(tmp_path / "r.yaml")


def test_an_unknown_component_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    made = yaml.safe_load(DEFAULT_RECIPE.read_text())
    made["components"]["restoro"] = made["components"].pop("restore")
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(made))
    with pytest.raises(ConfigError, match="unknown component `restoro`; did you mean `restore`"):
        load_recipe(tmp_path / "r.yaml")


def test_a_key_of_a_merged_mapping_may_be_given_anew(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("a: {b: &b {x: 1, y: 2}, c: &c {<<: *b, x: 3}}\nd: {<<: *c, <<: *b, x: 4}\n")
    assert read_yaml(tmp_path / "r.yaml")["d"] == {"x": 4, "y": 2}


@pytest.mark.parametrize(
    ("component", "made", "told"),
    [
        ("restore", {"keep_fp32": ["nope"]}, r"components\.restore\.keep_fp32: no module `nope`; modules are "),
        ("restore", {"keep_fp32": ["decodr"]}, r"restore\.keep_fp32: no module `decodr`; did you mean `deco"),
        (
            "decoder",
            {"precision": {"onnx": "w4"}, "weight_bits": {"logit": 2}},
            r"decoder\.weight_bits: no module `logit`; did you mean `logits`\?",
        ),
    ],
)
def test_a_module_that_a_network_lacks_is_told_before_anything_is_lowered(
    tmp_path: Path, component: str, made: object, told: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"extends": "mixed.yaml", "components": {component: made}}))
    with pytest.raises(ConfigError, match=rf"own\.yaml: .*{told}"):
        bundle_stage(load_recipe(path), path)
