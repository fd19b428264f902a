"""Checkpoints of vision and language become bundles whose language model has one set of weights."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result

from pocketcrafter.benchmarks.latency.results import LatencyReport
from pocketcrafter.benchmarks.parity.measure import climb
from pocketcrafter.benchmarks.profile.measure import profile_bundle
from pocketcrafter.export.builder.cli import build_command
from pocketcrafter.export.builder.graph import bundle_stage
from pocketcrafter.export.families.inference import infer_recipe, write_recipe
from pocketcrafter.export.families.networks.language import Positions
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.bundle.verify import Outcome, verify
from pocketcrafter.runtime.cli import run
from pocketcrafter.runtime.embedding import TABLE, EmbeddingTable
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.language import PREFILL, Rotary, Text
from pocketcrafter.runtime.targets import ONNX, XNNPACK, TargetKind

_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
_TEXT = {**_VISION, "num_hidden_layers": 2, "num_key_value_heads": 1, "vocab_size": 96, "max_position_embeddings": 64}
_QWENS_VISION = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 32}
_QWENS_WINDOWS = {"patch_size": 4, "window_size": 16, "spatial_merge_size": 2, "fullatt_block_indexes": [1]}
_BOTH = ("--target", "onnx", "--target", "executorch-xnnpack")
_INT4 = ("--precision", "language=w4")


def _smolvlm(transformers: Any) -> Any:
    config = transformers.SmolVLMConfig(
        vision_config={**_VISION, "image_size": 32, "patch_size": 8},
        text_config={"model_type": "llama", **_TEXT, "pad_token_id": 0},
        scale_factor=2,
        image_token_id=95,
        pad_token_id=0,
    )
    return transformers.SmolVLMForConditionalGeneration(config)


def _qwen(transformers: Any) -> Any:
    turns = {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}
    text = {"model_type": "qwen2_5_vl_text", **_TEXT, **turns, "pad_token_id": 0}
    config = transformers.Qwen2_5_VLConfig(vision_config={**_QWENS_VISION, **_QWENS_WINDOWS}, text_config=text)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random networks, as ``save_pretrained`` leaves them."""
    transformers, folder = importlib.import_module("transformers"), tmp_path_factory.mktemp("checkpoints")
    for name, make in (("smolvlm", _smolvlm), ("qwen", _qwen)):
        torch.manual_seed(0)
        make(transformers).save_pretrained(folder / name)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def built(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoints' bundles for both targets, SmolVLM's with INT4 weights."""
    folder, made = tmp_path_factory.mktemp("bundles"), {}
    for name, more in (("smolvlm", _INT4), ("qwen", ())):
        made[name] = folder / f"{name}.pcbundle"
        done = _build(folder, str(checkpoints[name]), *_BOTH, *more, "--out", str(made[name]))
        assert done.exit_code == 0, done.output
    return made


def _build(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(build_command, [*arguments, "--stages", str(folder / "stages")])


@pytest.mark.parametrize("name", ["smolvlm", "qwen"])
def test_a_bundle_has_one_language_model_of_two_functions_and_its_words(built: dict[str, Path], name: str) -> None:
    report = verify(built[name], 1)
    assert report.ok, report
    assert {(one.target, one.component) for one in report.goldens} == {
        (target, component) for target in (ONNX, XNNPACK) for component in ("vision", "language")
    }
    bundle = Bundle.open(built[name])
    entry = bundle.manifest.entry("language")
    assert entry.functions == (None, PREFILL)
    for artifact in entry.artifacts.values():
        told = [fidelity.output for fidelity in artifact.rungs[2].fidelity]
        assert {"logits", f"{PREFILL}.logits"} <= set(told)
    assert TABLE in {file.path for file in bundle.manifest.files}
    assert EmbeddingTable.open(bundle.file(TABLE)).shape == (96, 32)


@pytest.mark.parametrize("target", [ONNX, XNNPACK])
def test_a_bundle_alone_reads_a_text_as_the_checkpoint_does(
    built: dict[str, Path], checkpoints: dict[str, Path], target: str
) -> None:
    transformers = importlib.import_module("transformers")
    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoints["qwen"]).eval()
    bundle = Bundle.open(built["qwen"])
    step, prefill = (bundle.target_session("language", 1, target, function) for function in (None, PREFILL))
    turns = model.model.language_model.rotary_emb
    rotary = Rotary(turns.inv_freq.numpy(), turns.attention_scaling, (2, 3, 3))
    text = Text(step, prefill, bundle.manifest.entry("language").spec, rotary)
    words = np.random.default_rng(0).integers(0, 96, 40)
    vectors = EmbeddingTable.open(bundle.file(TABLE)).rows(words)
    read = text.read(vectors[:-1]), text.read(vectors[-1:])
    with torch.no_grad():
        # The table's 8 bits are the bundle's own rounding: the checkpoint is given the same vectors.
        given = {
            "inputs_embeds": torch.from_numpy(vectors)[None],
            "attention_mask": torch.ones(1, 40, dtype=torch.int64),
        }
        logits = model(**given).logits[0].numpy()
    np.testing.assert_allclose(read[0].logits, logits[-2], atol=1e-4)
    np.testing.assert_allclose(read[1].logits, logits[-1], atol=1e-4)


def test_a_languages_weights_lie_in_a_bundle_once(built: dict[str, Path]) -> None:
    """FP32: two layers of 96 x 32 attention and 3 x 64 x 32 each, and an output layer of 96 x 32."""
    weights = 4 * (2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 64 * 32) + 96 * 32)
    manifest = Bundle.open(built["qwen"]).manifest
    for target in (ONNX, XNNPACK):
        size = manifest.artifact_bytes(manifest.entry("language").artifacts[target])
        assert weights < size < 2 * weights, target


def test_both_rungs_are_climbed_again(built: dict[str, Path], checkpoints: dict[str, Path]) -> None:
    report = climb(Bundle.open(built["smolvlm"]), [], [], weights=checkpoints["smolvlm"].parent, threads=1)
    again = {network.component: [rung.rung for rung in network.again] for network in report.networks}
    assert again == {"vision": [], "language": [1, 2]}, "vision is not quantized"
    assert all(rung.passed for network in report.networks for rung in network.again)


def test_bisect_shows_the_layers_of_a_language_model(built: dict[str, Path], checkpoints: dict[str, Path]) -> None:
    asked = ("bisect", str(built["smolvlm"]), "language", "--against", "onnx", "--weights", str(checkpoints["smolvlm"]))
    assert run([*asked, "--json"]) == 0


def test_a_bench_times_a_language_model_beside_its_own_weights(
    built: dict[str, Path], checkpoints: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--component", "language", "--target", "onnx", "--competitor", "torch-eager-fp32", "--repeats", "2")
    weights = ("--weights", str(checkpoints["qwen"]))
    assert run(["bench", "latency", str(built["qwen"]), *given, "--loads", "1", "--json", *weights]) == 0
    report = LatencyReport.model_validate_json(capsys.readouterr().out)
    assert [case.runner for case in report.cases] == ["onnx", "torch-eager-fp32"]
    assert {size.target for size in report.sizes} == {ONNX, XNNPACK}
    assert report.skipped == ()


def test_a_profile_counts_the_macs_of_a_checkpoints_networks(built: dict[str, Path]) -> None:
    bundle = Bundle.open(built["qwen"])
    for network in profile_bundle(bundle, runs=2).networks:
        stated = bundle.manifest.entry(network.component).artifacts[network.target].coverage.macs_total
        counted = sum(op.macs for op in network.ops) or network.undivided_macs
        assert counted == pytest.approx(stated, rel=0.02), network.component
        assert counted > 0


def test_four_bits_leave_the_output_layer_eight_and_gates_that_such_weights_reach(checkpoints: dict[str, Path]) -> None:
    recipe = infer_recipe(checkpoints["smolvlm"], [ONNX, XNNPACK], {"language": Precision.W4})
    made = recipe.components["language"]
    assert made.precision == {ONNX: Precision.W4, XNNPACK: Precision.A8W4_DYNAMIC}
    assert made.weight_bits == {"head": 8}
    assert (made.rung1_sqnr_db, made.rung2_sqnr_db) == (10, 26)
    assert made.embedding_bits == 4
    floating = infer_recipe(checkpoints["smolvlm"], [ONNX]).components["language"]
    assert (floating.weight_bits, floating.rung1_sqnr_db) == ({}, None)


def test_only_a_target_that_rounds_activations_beside_eight_bit_weights_has_another_gate(
    checkpoints: dict[str, Path],
) -> None:
    for target, gate in ((ONNX, 30), ("coreml:ios18", None)):
        made = infer_recipe(checkpoints["smolvlm"], [TargetKind(target)], {"language": Precision.W8})
        assert (made.components["language"].rung1_sqnr_db, made.components["language"].rung2_sqnr_db) == (None, gate)


def test_a_recipe_chooses_how_long_caches_and_chunks_are(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    own, out = tmp_path / "own.yaml", tmp_path / "own.pcbundle"
    write_recipe(infer_recipe(checkpoints["smolvlm"], [ONNX]), own)
    raw = yaml.safe_load(own.read_text())
    raw["components"]["language"]["positions"] = {"cache": 48, "chunk": 16}
    own.write_text(yaml.safe_dump(raw))
    done = _build(tmp_path, "--recipe", str(own), "--out", str(out))
    assert done.exit_code == 0, done.output
    spec = Bundle.open(out).manifest.entry("language").spec
    shapes = {function: {t.name: t.shape for t in spec.of(function).inputs} for function in (None, PREFILL)}
    assert (shapes[None]["mask"], shapes[PREFILL]["mask"]) == ((1, 49), (16, 64))
    assert shapes[None]["keys"] == shapes[PREFILL]["keys"] == (2, 1, 48, 16)
    raw["components"]["vision"]["positions"] = raw["components"]["language"].pop("positions")
    own.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=r"components\.vision: only a language model"):
        bundle_stage(load_recipe(own), own)


def test_sizes_that_a_model_cannot_have_are_told() -> None:
    assert Positions().sizes(8192) == (1024, 32)
    assert Positions().sizes(40) == (40, 19)
    with pytest.raises(ConfigError, match="reads 64 positions at most"):
        Positions(cache=65).sizes(64)
    with pytest.raises(ConfigError, match="make `chunk` 23 or less"):
        Positions(cache=48, chunk=24).sizes(64)


def test_phones_bundles_have_one_language_model_of_two_functions(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    pytest.importorskip("onnxruntime_qnn")
    out, targets = tmp_path / "phones.pcbundle", ("coreml:ios18", "qnn-context:sm8750")
    given = [argument for target in targets for argument in ("--target", target)]
    done = _build(tmp_path, str(checkpoints["smolvlm"]), *given, "--out", str(out))
    assert done.exit_code == 0, done.output
    report = verify(out, 1)
    assert report.ok, report
    outcomes = {(one.target, one.component): one.outcome for one in report.goldens}
    # The emulator opens no binary whose graphs share weights; rung 2 was measured where it was compiled.
    shared = outcomes.pop(("qnn-context:sm8750", "language"))
    assert shared is Outcome.NOT_RUN
    assert set(outcomes.values()) == {Outcome.PASSED}
    artifact = Bundle.open(out).manifest.entry("language").artifacts["qnn-context:sm8750"]
    assert artifact.rungs[2].passed
    assert "does not open" in artifact.rungs[2].how
    assert artifact.goldens == ()


def test_targets_that_would_keep_weights_twice_refuse_before_any_work(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = checkpoints["smolvlm"]
    target = TargetKind("executorch-vulkan")
    with pytest.raises(
        BackendError, match=r"language for executorch-vulkan: .*twice there; .* executorch-xnnpack, onnx"
    ):
        bundle_stage(infer_recipe(folder, [target]), folder)
    code = run(["build", str(folder), "--target", target, "--stages", str(tmp_path / "stages")])
    assert code == 2
    assert not (tmp_path / "stages").exists()
    done = _build(tmp_path, str(folder), "--all-targets", "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    assert target in done.stderr
    assert {ONNX, XNNPACK} <= set(json.loads(done.stdout)["recipe"]["targets"])
