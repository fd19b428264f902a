"""A checkpoint folder becomes a recipe, and the recipe a bundle: nothing of it is random but the weights."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

import pocketcrafter
from pocketcrafter.benchmarks.parity.measure import climb
from pocketcrafter.export.builder.cli import build_command
from pocketcrafter.export.builder.graph import bundle_stage
from pocketcrafter.export.builder.preflight import PreflightError
from pocketcrafter.export.builder.runner import in_order
from pocketcrafter.export.builder.settings import LowerSettings
from pocketcrafter.export.families.inference import infer_recipe, write_recipe
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.bundle.verify import verify
from pocketcrafter.runtime.cli import run
from pocketcrafter.runtime.errors import ConfigError, NoPipelineError, PocketCrafterError
from pocketcrafter.runtime.targets import ONNX, XNNPACK, TargetKind


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny autoencoder as ``save_pretrained`` leaves it."""
    torch.manual_seed(0)
    kind: Any = importlib.import_module("diffusers").AutoencoderKL
    path = tmp_path_factory.mktemp("checkpoints") / "Tiny KL"
    kind(
        sample_size=16,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    ).save_pretrained(path)
    return path


def _build(tmp_path: Path, *arguments: str) -> Result:
    stages = ("--stages", str(tmp_path / "stages"))
    return CliRunner().invoke(build_command, [*arguments, *stages])


def test_a_recipe_is_inferred_from_a_folder(folder: Path) -> None:
    recipe = infer_recipe(folder, [ONNX, TargetKind("coreml:ios18")])
    assert (recipe.name, recipe.family) == ("tiny-kl", "networks")
    assert list(recipe.components) == ["encode", "decode"]
    assert recipe.components["encode"].precision == {ONNX: Precision.FP32, TargetKind("coreml:ios18"): Precision.FP16}
    assert recipe.licenses[0].spdx == "NOASSERTION"


def test_what_a_checkpoint_says_of_its_licence_goes_into_the_recipe(folder: Path, tmp_path: Path) -> None:
    beside = tmp_path / "kl"
    beside.mkdir()
    for file in folder.iterdir():
        (beside / file.name).symlink_to(file)
    (beside / "README.md").write_text("---\ntags: [vae]\nlicense: apache-2.0\n---\n# A VAE\n")
    (beside / "LICENSE").write_text("words")
    recipe = infer_recipe(beside, [ONNX])
    assert recipe.components["decode"].license == "Apache-2.0"
    assert recipe.licenses[0].path == str(beside / "LICENSE")


def test_an_adapter_in_a_folder_beside_the_weights_is_not_left_out_without_a_word(folder: Path, tmp_path: Path) -> None:
    beside = tmp_path / "kl"
    shutil.copytree(folder, beside)
    (beside / "lora").mkdir()
    with pytest.raises(ConfigError, match="lora: what is in it belongs to an adapter"):
        infer_recipe(beside, [ONNX])


def test_precisions_are_given_for_all_or_by_component_or_role(folder: Path) -> None:
    def precisions(asked: Any) -> list[Precision]:
        return [made.precision[ONNX] for made in infer_recipe(folder, [ONNX], asked).components.values()]

    assert precisions(Precision.INT8) == [Precision.INT8] * 2
    assert precisions({"decode": Precision.INT8}) == [Precision.FP32, Precision.INT8]
    told: list[str] = []
    made = infer_recipe(folder, [ONNX, XNNPACK], {"decode": Precision.W4}, tell=told.append).components["decode"]
    assert made.precision == {ONNX: Precision.W4, XNNPACK: Precision.A8W4_DYNAMIC}
    assert [sentence.split(", whose")[0] for sentence in told] == ["decode for executorch-xnnpack: 8da4w"]
    with pytest.raises(ConfigError, match="no component `decoder`; did you mean `decode`"):
        infer_recipe(folder, [ONNX], {"decoder": Precision.INT8})
    with pytest.raises(ConfigError, match=r"encode: onnx has no fp16.*The nearest is fp32"):
        infer_recipe(folder, [ONNX], Precision.FP16)


def test_a_precision_that_a_target_lacks_is_refused_with_the_nearest(folder: Path, tmp_path: Path) -> None:
    for precision in ("w4", "int8"):
        done = _build(tmp_path, str(folder), "--target", "executorch-vulkan", "--precision", precision, "--dry-run")
        assert isinstance(done.exception, ConfigError)
        assert f"executorch-vulkan has no {precision}: " in str(done.exception)
        assert "; it has fp32, fp16." in str(done.exception)
    done = _build(tmp_path, str(folder), "--precision", "int3", "--dry-run")
    assert done.exit_code == 2
    assert all(precision in done.output for precision in Precision)
    done = _build(tmp_path, str(folder), "--precision", "=int8", "--dry-run")
    assert done.exit_code == 2
    assert "'=int8': names no component" in done.output


def test_a_missing_sdk_is_told_before_what_the_target_cannot_do(folder: Path, tmp_path: Path) -> None:
    done = _build(tmp_path, str(folder), "--target", "executorch-samsung", "--precision", "w4", "--dry-run")
    assert isinstance(done.exception, PreflightError)
    assert "executorch-samsung: " in str(done.exception)


def test_a_part_of_a_pair_is_told_of_the_pair(folder: Path, tmp_path: Path) -> None:
    vae = tmp_path / "pair" / "artist" / "vae"
    shutil.copytree(folder, vae)
    (tmp_path / "pair/critic").mkdir()
    done = _build(tmp_path, str(vae), "--target", "onnx", "--dry-run")
    assert done.exit_code == 0
    assert f"note: {tmp_path / 'pair'} is a pair: `pocketcrafter build" in done.stderr
    assert "is a pair" not in _build(tmp_path, str(folder), "--target", "onnx", "--dry-run").stderr


def test_a_saved_recipe_gives_the_same_stages(folder: Path, tmp_path: Path) -> None:
    recipe = infer_recipe(folder, [ONNX], Precision.INT8)
    write_recipe(recipe, tmp_path / "own.yaml")
    written = yaml.safe_load((tmp_path / "own.yaml").read_text())
    assert not Path(written["components"]["encode"]["weights"]).is_absolute()
    again = load_recipe(tmp_path / "own.yaml")
    first, second = bundle_stage(recipe, folder), bundle_stage(again, tmp_path / "own.yaml")
    assert [(s.name, s.key()) for s in in_order(first)] == [(s.name, s.key()) for s in in_order(second)]


def test_a_dry_run_shows_the_recipe_and_the_stages(folder: Path, tmp_path: Path) -> None:
    done = _build(tmp_path, str(folder), "--target", "onnx", "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert shown["recipe"]["family"] == "networks"
    assert len(shown["stages"]) == 7
    assert not (tmp_path / "stages").exists()


def test_estimates_follow_from_what_the_headers_tell(folder: Path) -> None:
    stages = {s.name: s.estimate for s in in_order(bundle_stage(infer_recipe(folder, [ONNX]), folder))}
    assert stages["lower encode for onnx"].ram_mib == 1700, "smaller networks take no less"


def test_a_network_is_written_in_plain_operators_for_the_targets_that_want_it(folder: Path) -> None:
    targets = (ONNX, XNNPACK, TargetKind("qnn-context:sm8750"))
    stages = in_order(bundle_stage(infer_recipe(folder, targets), folder))
    rewritten = {s.name: s.settings.decompose for s in stages if isinstance(s.settings, LowerSettings)}
    assert rewritten["lower encode for onnx"] is False
    assert rewritten["lower encode for executorch-xnnpack"] is True
    assert rewritten["lower encode for onnx in fp32, to be compiled"] is True


def test_a_component_that_the_folder_lacks_is_told_with_those_that_it_has(folder: Path, tmp_path: Path) -> None:
    write_recipe(infer_recipe(folder, [ONNX]), tmp_path / "own.yaml")
    content = (tmp_path / "own.yaml").read_text().replace("decode:", "decoder:")
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"components\.decoder: .* has no such network; did you mean `decode`"):
        bundle_stage(load_recipe(tmp_path / "own.yaml"), tmp_path / "own.yaml")


def test_a_folder_becomes_a_bundle_that_verifies_and_has_no_pair(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "kl.pcbundle"
    done = _build(tmp_path, str(folder), "--target", "onnx", "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    assert verify(out, 1).ok
    manifest = Bundle.open(out).manifest
    assert manifest.family == "networks"
    encode = manifest.entry("encode").artifacts["onnx"]
    assert [rung.passed for rung in encode.rungs] == [None, None, True, None, None]
    assert "no pair" in encode.rungs[3].how
    with pytest.raises(NoPipelineError, match=r"holds networks alone \(encode, decode\)"):
        pocketcrafter.Pipeline.open(out)
    again = _build(tmp_path, str(folder), "--target", "onnx", "--out", str(out))
    assert "up to date" in again.output


def test_a_saved_recipe_is_changed_and_built(folder: Path, tmp_path: Path) -> None:
    own, out = tmp_path / "own.yaml", tmp_path / "kl.pcbundle"
    save = ("--precision", "encode=int8", "--save-recipe", str(own), "--dry-run")
    assert _build(tmp_path, str(folder), "--target", "onnx", *save).exit_code == 0
    # Random weights of a few channels do not reach the usual 30 dB.
    own.write_text(yaml.safe_dump(yaml.safe_load(own.read_text()) | {"gates": {"rung1_sqnr_db": 15}}))
    done = _build(tmp_path, "--recipe", str(own), "--out", str(out))
    assert done.exit_code == 0, done.output
    manifest = Bundle.open(out).manifest
    encode, decode = (manifest.entry(name).artifacts["onnx"] for name in ("encode", "decode"))
    assert (encode.precision, decode.precision) == (Precision.INT8, Precision.FP32)
    report = climb(Bundle.open(out), [], [], weights=folder.parent, threads=1)
    again = {network.component: [rung.rung for rung in network.again] for network in report.networks}
    assert again == {"encode": [1, 2], "decode": []}
    assert "no full-precision pipeline" in report.targets[0].rung.how


def test_every_refusal_is_named_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    recipe = infer_recipe(folder, [ONNX])
    write_recipe(recipe, tmp_path / "own.yaml")
    gates = {"gates": {"rung2_sqnr_db": 900}}
    content = yaml.safe_load((tmp_path / "own.yaml").read_text()) | gates
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    out = tmp_path / "kl.pcbundle"
    code = run(
        ["build", "--recipe", str(tmp_path / "own.yaml"), "--out", str(out), "--stages", str(tmp_path / "stages")]
    )
    assert code == 1
    assert not out.exists()


def _nan(tensors: dict[str, Any]) -> None:
    tensors["decoder.conv_out.weight"].view(-1)[3] = float("nan")


def _misfit(tensors: dict[str, Any]) -> None:
    tensors["encoder.conv_in.weight"] = torch.zeros(8, 3, 5, 5)


def _without_layer(tensors: dict[str, Any]) -> None:
    del tensors["decoder.conv_in.weight"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_nan, "decoder.conv_out.weight"),
        (_misfit, "encoder.conv_in.weight"),
        (_without_layer, "decoder.conv_in.weight"),
    ],
)
def test_a_dry_run_looks_into_the_weights_as_a_build_does(
    damage: Callable[[dict[str, Any]], None], told: str, folder: Path, tmp_path: Path
) -> None:
    spoiled = tmp_path / "spoiled"
    shutil.copytree(folder, spoiled)
    tensors = load_file(spoiled / "diffusion_pytorch_model.safetensors")
    damage(tensors)
    save_file(tensors, spoiled / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    done = _build(tmp_path, str(spoiled), "--target", "onnx", "--dry-run")
    assert isinstance(done.exception, PocketCrafterError)
    assert told in str(done.exception)
    assert not (tmp_path / "stages").exists() or not any((tmp_path / "stages").glob("*/*"))
