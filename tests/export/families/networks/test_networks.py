"""Foreign networks, tiny and random, saved to disk in Hugging Face's layout and loaded from it alone."""

import importlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor

from pocketcrafter.benchmarks.foreign.command import foreign
from pocketcrafter.benchmarks.foreign.measure import try_target
from pocketcrafter.export.calibration.language import TorchFunction, rotary_of
from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks.checkpoint import CheckpointError, read_checkpoint
from pocketcrafter.export.families.networks.folder import check_loaded, load_folder
from pocketcrafter.export.families.networks.language import PROMPT, LanguagePart
from pocketcrafter.export.families.networks.parts import draw_samples
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.cli import run
from pocketcrafter.runtime.language import PREFILL, Text
from pocketcrafter.runtime.targets import ONNX, XNNPACK, TargetKind

_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
_TEXT = {"model_type": "llama", **_VISION, "num_key_value_heads": 1, "vocab_size": 128, "pad_token_id": 0}


def _unet() -> Any:
    return importlib.import_module("diffusers").UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def _autoencoder() -> Any:
    blocks = {"block_out_channels": (8, 8), "norm_num_groups": 4}
    down, up = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    kind = importlib.import_module("diffusers").AutoencoderKL
    return kind(sample_size=16, down_block_types=down, up_block_types=up, **blocks)


def _smolvlm() -> Any:
    transformers = importlib.import_module("transformers")
    config = transformers.SmolVLMConfig(
        vision_config={**_VISION, "image_size": 32, "patch_size": 8},
        text_config=_TEXT,
        scale_factor=2,
        image_token_id=127,
        pad_token_id=0,
    )
    return transformers.SmolVLMForConditionalGeneration(config)


def _qwen() -> Any:
    transformers = importlib.import_module("transformers")
    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 32}
    places = {"patch_size": 4, "window_size": 16, "spatial_merge_size": 2, "fullatt_block_indexes": [1]}
    text = {**_TEXT, "model_type": "qwen2_5_vl_text", "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}
    config = transformers.Qwen2_5_VLConfig(vision_config={**vision, **places}, text_config=text)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def _captioner() -> Any:
    transformers = importlib.import_module("transformers")
    eye = transformers.ViTConfig(**_VISION, image_size=32, patch_size=8)
    writer = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, vocab_size=128, n_positions=64, is_decoder=True, add_cross_attention=True
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(eye, writer)
    config.decoder_start_token_id, config.pad_token_id = 0, 1
    return transformers.VisionEncoderDecoderModel(config=config)


def _module(part: Part) -> Any:
    assert isinstance(part.network, torch.nn.Module)
    return part.network


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, Any], Path]:
    def to_disk(name: str, model: Any) -> Path:
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return to_disk


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_a_unets_part_is_the_unet(save: Callable[[str, Any], Path]) -> None:
    unet = _unet().eval()
    (part,) = load_folder(save("unet", unet))
    shapes = {t.name: t.shape for t in part.spec.inputs}
    assert shapes == {"sample": (1, 4, 8, 8), "timestep": (1,), "text": (1, 77, 8)}
    inputs = [torch.from_numpy(array) for array in draw_samples(part.spec, 1, seed=0)[0].values()]
    with torch.no_grad():
        torch.testing.assert_close(_module(part)(*inputs), unet(*inputs, return_dict=False)[0])


def test_an_autoencoders_parts_follow_each_other(save: Callable[[str, Any], Path]) -> None:
    model = _autoencoder().eval()
    encoder, decoder = load_folder(save("kl", model))
    assert encoder.spec.outputs[0].shape == (1, 8, 8, 8), "means and spreads of four channels"
    assert (decoder.spec.inputs[0].shape, decoder.spec.outputs[0].shape) == ((1, 4, 8, 8), (1, 3, 16, 16))
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        distribution = model.encode(image).latent_dist
        torch.testing.assert_close(_module(encoder)(image), distribution.parameters)
        torch.testing.assert_close(_module(decoder)(distribution.mean), model.decode(distribution.mean).sample)


def _reads_on(language: Sequence[Part], model: Any) -> None:
    """Read a text by chunks and a step with a cache between them, and by the model at once."""
    (part,) = language
    assert isinstance(part, LanguagePart)
    assert (part.spec.name, [f.name for f in part.spec.functions]) == ("language", [PREFILL])
    functions = (TorchFunction(part.model, part.spec.of(name)) for name in (None, PREFILL))
    text = Text(*functions, part.spec, rotary_of(part.model))
    words = torch.randint(0, len(part.table), (1, 41))
    vectors = part.table[words[0]].numpy()
    read = text.read(vectors[:-1]), text.read(vectors[-1:])
    with torch.no_grad():
        logits = model(input_ids=words, attention_mask=torch.ones_like(words)).logits[0].numpy()
    np.testing.assert_allclose(read[0].logits, logits[-2], atol=1e-5)
    np.testing.assert_allclose(read[1].logits, logits[-1], atol=1e-5)


def test_a_vision_language_models_parts_are_its_eye_and_its_language(save: Callable[[str, Any], Path]) -> None:
    model = _smolvlm().eval()
    eye, *language = load_folder(save("smolvlm", model))
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        wanted = model.model.get_image_features(pixels[None], torch.ones(1, 1, 32, 32, dtype=torch.bool))
        torch.testing.assert_close(_module(eye)(pixels), wanted)
    _reads_on(language, model)


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_alone_is_one_part(save: Callable[[str, Any], Path], tied: bool) -> None:
    transformers = importlib.import_module("transformers")
    config = transformers.LlamaConfig(**{**_TEXT, "num_hidden_layers": 2}, tie_word_embeddings=tied)
    model = transformers.LlamaForCausalLM(config).eval()
    _reads_on(load_folder(save("llama", model)), model)


def test_qwens_parts_are_its_eye_over_windows_and_its_language(save: Callable[[str, Any], Path]) -> None:
    model = _qwen().eval()
    eye, *language = load_folder(save("qwen", model))
    assert (eye.spec.inputs[0].shape, eye.spec.outputs[0].shape) == ((64, 3 * 2 * 4 * 4), (16, 32))
    patches = torch.randn(eye.spec.inputs[0].shape)
    with torch.no_grad():
        wanted = model.model.visual(patches, torch.tensor([[1, 8, 8]]))
        torch.testing.assert_close(_module(eye)(patches), wanted)
    _reads_on(language, model)


def test_a_captioners_parts_are_optimums_graphs_and_follow_each_other(save: Callable[[str, Any], Path]) -> None:
    model = _captioner().eval()
    found = load_folder(save("captioner", model))
    assert [part.spec.name for part in found] == ["vision", "prompt", "step"]
    eye, prompt, step = (_graph(part) for part in found)
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    words = torch.randint(0, 128, (1, PROMPT + 1))
    with torch.no_grad():
        logits = model(pixel_values=pixels, decoder_input_ids=words).logits.numpy()
    (seen,) = eye([pixels.numpy()])
    numbers = words.numpy().astype(np.float32)
    first, *caches = prompt([numbers[:, :PROMPT], seen])
    np.testing.assert_allclose(first, logits[:, :PROMPT], atol=1e-4)
    second, *longer = step([numbers[:, PROMPT:], seen, *caches])
    np.testing.assert_allclose(second, logits[:, PROMPT:], atol=1e-4)
    assert [cache.shape[2] for cache in longer] == [PROMPT + 1] * 4


def _graph(part: Part) -> Callable[[Sequence[Any]], list[Any]]:
    assert isinstance(part.network, onnx.ModelProto)
    session = open_session(part.network.SerializeToString())
    assert [(t.name, tuple(t.shape)) for t in session.get_inputs()] == [(t.name, t.shape) for t in part.spec.inputs]
    names = [t.name for t in part.spec.inputs]
    return lambda arrays: list(session.run(None, dict(zip(names, arrays, strict=True))))


def test_optimums_graphs_are_quantized_like_any_other(save: Callable[[str, Any], Path], tmp_path: Path) -> None:
    eye, _prompt, step = load_folder(save("captioner", _captioner()))
    for part, precision, least in ((eye, Precision.INT8, 25), (step, Precision.W8A8_DYNAMIC, 25), (step, None, 100)):
        found = try_target(part, ONNX, tmp_path / f"{part.spec.name}-{precision}", precision)
        assert found.refusal is None
        assert found.coverage is not None
        assert found.coverage.share > 0.8
        assert all(f.reaches(least) for f in (*found.rung1, *found.rung2))
    refused = try_target(eye, XNNPACK, tmp_path / "refused")
    assert "comes as ONNX, which executorch-xnnpack does not read" in (refused.refusal or "")


@pytest.mark.parametrize("number", [0, 1])
def test_qwens_parts_lower_to_onnx(save: Callable[[str, Any], Path], tmp_path: Path, number: int) -> None:
    found = try_target(load_folder(save("qwen", _qwen()))[number], ONNX, tmp_path / "out")
    assert found.refusal is None
    assert found.rung2[0].reaches(80)


def test_a_language_model_lies_wholly_on_xnnpack(save: Callable[[str, Any], Path], tmp_path: Path) -> None:
    _eye, language = load_folder(save("smolvlm", _smolvlm()))
    found = try_target(language, XNNPACK, tmp_path / "out")
    assert found.refusal is None
    assert found.rung2[0].reaches(80)
    assert all(fallback.allowed for fallback in (found.coverage.fallbacks if found.coverage else ()))


def test_a_vision_encoder_whose_layers_are_quantized_one_by_one_leaves_copies_alone_outside_xnnpack(
    save: Callable[[str, Any], Path], tmp_path: Path
) -> None:
    vision, _language = load_folder(save("smolvlm", _smolvlm()))
    found = try_target(vision, XNNPACK, tmp_path / "out", Precision.W8A8_DYNAMIC)
    assert found.refusal is None
    assert found.coverage is not None
    assert {fallback.op for fallback in found.coverage.fallbacks} == {"aten.expand_copy.default"}
    assert all(fidelity.reaches(30) for fidelity in found.whole)


def test_the_table_tells_what_a_target_took_and_what_it_left(save: Callable[[str, Any], Path]) -> None:
    folder = save("kl", _autoencoder())
    result = CliRunner().invoke(foreign, [str(folder), "--target", "onnx", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["component"], row["target"], row["refusal"]) for row in rows] == [
        ("encode", "onnx", None),
        ("decode", "onnx", None),
    ]
    assert all(
        row["rung2"][0]["sqnr_db"] > 80 and row["coverage"]["macs_delegated"] == row["coverage"]["macs_total"]
        for row in rows
    )


def test_a_foreign_network_is_quantized_where_that_is_asked_for(save: Callable[[str, Any], Path]) -> None:
    folder = save("kl", _autoencoder())
    given = [str(folder), "--target", "onnx", "--precision"]
    result = CliRunner().invoke(foreign, [*given, "int8", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["precision"], row["refusal"]) for row in rows] == [("int8", None)] * 2
    assert all(10 < row["rung1"][0]["sqnr_db"] < 60 for row in rows)
    # Integers that are the simulation's to the last are no ratio.
    assert all((row["rung2"][0]["sqnr_db"] or 99) > 40 for row in rows)
    result = CliRunner().invoke(foreign, [*given, "fp16", "--json"])
    assert "compute no float16" in json.loads(result.stdout)[0]["refusal"]


def test_integers_are_as_near_to_full_precision_as_their_simulation(
    save: Callable[[str, Any], Path], tmp_path: Path
) -> None:
    encoder, _decoder = load_folder(save("kl", _autoencoder()))
    found = try_target(encoder, XNNPACK, tmp_path / "out", Precision.INT8)
    simulated, computed = (fidelity[0].sqnr_db or 0 for fidelity in (found.rung1, found.whole))
    assert simulated > 20
    assert computed > simulated - 2, "roundings may go apart on the way, but to results as good"


def test_a_refusal_is_a_finding(
    save: Callable[[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEUROPILOT_SDK_ROOT", raising=False)
    (part,) = load_folder(save("unet", _unet()))
    found = try_target(part, TargetKind("executorch-mediatek"), tmp_path / "out")
    assert found.refusal is not None
    assert found.refusal.startswith("BackendError: executorch-mediatek cannot be built: needs NeuroPilot Express")


def test_folders_that_hold_something_else_are_refused(tmp_path: Path, save: Callable[[str, Any], Path]) -> None:
    with pytest.raises(CheckpointError, match=r"no readable config\.json"):
        load_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "FluxTransformer2DModel"}')
    with pytest.raises(CheckpointError, match="FluxTransformer2DModel is not known; known are UNet2DConditionModel"):
        load_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match=r"only diffusion_pytorch_model\.bin, which can run code"):
        load_folder(tmp_path)
    folder = save("unet", _unet())
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.safetensors: is truncated"):
        load_folder(folder)


def _edited(folder: Path, edit: Callable[[dict[str, Tensor]], None]) -> Path:
    """Change a checkpoint's one file of weights."""
    (file,) = folder.glob("*.safetensors")
    # Copies: what is loaded may still lie in the file that is written over.
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    edit(tensors)
    save_file(tensors, file, {"format": "pt"})
    return folder


_LAYERS: dict[str, tuple[Callable[[], Any], str]] = {
    "unet": (_unet, "conv_out.weight"),
    "autoencoder": (_autoencoder, "decoder.conv_out.weight"),
    "smolvlm": (_smolvlm, "model.text_model.layers.0.mlp.up_proj.weight"),
    "qwen": (_qwen, "lm_head.weight"),
    "captioner": (_captioner, "decoder.transformer.h.0.attn.c_attn.weight"),
}


@pytest.mark.parametrize("name", _LAYERS)
def test_weights_that_are_not_the_files_own_are_named_for_every_loader(
    save: Callable[[str, Any], Path], name: str
) -> None:
    make, layer = _LAYERS[name]
    folder = save(name, make())
    (file,) = folder.glob("*.safetensors")
    whole = file.read_bytes()
    assert load_folder(folder)

    def refused(edit: Callable[[dict[str, Tensor]], None], told: str) -> None:
        file.write_bytes(whole)
        with pytest.raises(CheckpointError, match=told):
            load_folder(_edited(folder, edit))

    there = re.escape(layer)
    refused(lambda t: t.update({"other": t.pop(layer) + 1}), f"{there}: missing(.|\n)*other: unexpected")
    refused(lambda t: t.update({layer: t[layer][:-1].clone()}), f"{there}: .* in the file, .* in the network")
    refused(lambda t: t[layer].view(-1)[3:4].fill_(torch.nan), f"{there}: has values that are not finite")
    refused(lambda t: t[layer].view(-1)[3:4].fill_(torch.inf), f"{there}: has values that are not finite")
    refused(lambda t: t.update(more=torch.ones(3)), "more: unexpected; the network has no place for it")


def test_a_loader_that_takes_other_values_than_the_file_has_is_found_out(save: Callable[[str, Any], Path]) -> None:
    folder = save("kl", _autoencoder())
    model = _autoencoder()
    with pytest.raises(CheckpointError, match=r"conv_in\.weight: the loader took other values(.|\n)* and \d+ more"):
        check_loaded(model, read_checkpoint(folder, "diffusion_pytorch_model"))


def test_tied_weights_need_be_there_once(save: Callable[[str, Any], Path]) -> None:
    model = _smolvlm()
    model.config.text_config.tie_word_embeddings = model.config.tie_word_embeddings = True
    model.tie_weights()
    folder = save("tied", model)
    (file,) = folder.glob("*.safetensors")
    assert "lm_head.weight" not in load_file(file)
    assert load_folder(folder)
    # Both there and different: one of the two would be lost.
    _edited(folder, lambda t: t.update({"lm_head.weight": torch.ones(128, 32)}))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight: the loader took other values"):
        load_folder(folder)


def test_names_of_an_older_library_are_no_fault(save: Callable[[str, Any], Path]) -> None:
    """Qwen2.5-VL's published checkpoints have names that transformers changes when it loads them."""

    def older(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            old = name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
            tensors[old] = tensors.pop(name)

    folder = _edited(save("qwen", _qwen()), older)
    assert len(load_folder(folder)) == 2
    _edited(folder, lambda t: t.pop("model.layers.0.mlp.up_proj.weight"))
    with pytest.raises(CheckpointError, match=r"language_model\.layers\.0\.mlp\.up_proj\.weight: missing"):
        load_folder(folder)


def test_what_no_part_reads_may_be_missing(save: Callable[[str, Any], Path]) -> None:
    """TrOCR's checkpoints have no pooler, which the decoder would not read."""
    folder = save("captioner", _captioner())
    _edited(folder, lambda t: [t.pop(f"encoder.pooler.dense.{name}") for name in ("weight", "bias")] and None)
    assert len(load_folder(folder)) == 3


@pytest.mark.parametrize("name", ["unet", "smolvlm"])
def test_a_folder_with_nothing_but_half_precision_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    model = _LAYERS[name][0]().half()
    model.save_pretrained(tmp_path, variant="fp16")
    assert [p.name.split(".")[1] for p in tmp_path.glob("*.safetensors")] == ["fp16"]
    parts = load_folder(tmp_path)
    assert all(p.dtype == torch.float32 for part in parts for p in _module(part).parameters())


def test_a_pipelines_networks_are_named_with_the_command_that_builds_them(tmp_path: Path) -> None:
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"pocketcrafter build \S+/unet \(UNet2DConditionModel\); ") as caught:
        load_folder(tmp_path)
    assert f"{tmp_path / 'vae'} (AutoencoderKL)" in str(caught.value)


def test_an_adapter_without_its_base_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"adapter_config\.json belongs to an adapter \(LoRA\)"):
        load_folder(tmp_path)


def test_a_checkpoint_without_its_last_layer_builds_nothing(save: Callable[[str, Any], Path], tmp_path: Path) -> None:
    folder = save("kl", _autoencoder())
    _edited(folder, lambda t: [t.pop(f"decoder.conv_out.{name}") for name in ("weight", "bias")] and None)
    stages = ["--stages", str(tmp_path / "stages")]
    code = run(["build", str(folder), "--target", "onnx", "--out", str(tmp_path / "built"), *stages])
    assert code == 2
    assert {path.name for path in tmp_path.iterdir()} == {"kl", "stages"}
