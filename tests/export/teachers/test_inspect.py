"""`teacher inspect` tells of a released folder what its headers say; `convert` takes pickles of tensors alone."""

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

from pocketcrafter.export.families.latent.pair import read_pair  # noqa: E402
from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.export.licenses import forbids_commerce  # noqa: E402
from pocketcrafter.export.teachers.convert import convert_pickle  # noqa: E402
from pocketcrafter.export.teachers.inspect import TeacherFacts, inspect  # noqa: E402
from pocketcrafter.export.teachers.layout import read_layout  # noqa: E402
from pocketcrafter.export.teachers.systems import SystemName  # noqa: E402
from pocketcrafter.export.teachers.tensors import fingerprint, qwen_image_config, qwen_image_shapes  # noqa: E402
from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.errors import ConfigError  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twins = importlib.import_module("twins")

QWEN = "Qwen2_5_VLForConditionalGeneration"
QWEN_7B = {
    "vision": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584},
    "text": {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(twins.smart_photo_crafter(tmp_path_factory.mktemp("teacher") / "crafter"))


@pytest.fixture
def folder(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "crafter"))


def network(facts: TeacherFacts, name: str) -> Any:
    return next(found for found in facts.networks if found.name == name)


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_a_whole_teacher_is_usable_and_its_licence_is_told(twin: Path) -> None:
    facts = inspect(twin)
    assert (facts.system, facts.missing, facts.foreign, facts.unread) == (SystemName.SMART_PHOTO_CRAFTER, (), (), ())
    assert (facts.license, facts.commercial) == ("CC-BY-NC-SA-4.0", False)
    assert network(facts, "vlm").vocabulary.words == network(facts, "vlm").vocabulary.rows
    assert [network(facts, name).kind for name in ("dit", "vae")] == [
        "QwenImageTransformer2DModel", "AutoencoderKLQwenImage",
    ]  # fmt: skip


def test_an_adapter_whose_configuration_is_not_what_the_release_applies_is_told_loudly(twin: Path) -> None:
    facts = inspect(twin)
    (adapter,) = network(facts, "dit").adapters
    assert (adapter.dialect, adapter.layers, adapter.ranks) == ("peft", 16, (twins.RANK,))
    assert (adapter.stored_scales, adapter.scale) == ((8.0,), 2.0)
    assert [text.split(":")[0] for text in facts.warnings] == ["SCALE"]
    assert "2 is applied here" in facts.warnings[0]


def test_an_adapter_of_the_releases_factor_is_no_warning(folder: Path) -> None:
    said = {"peft_type": "LORA", "r": twins.RANK, "lora_alpha": 2 * twins.RANK}
    (folder / "dit_lora/adapter_config.json").write_text(json.dumps(said))
    assert inspect(folder).warnings == ()


def test_the_published_layout_is_known_by_its_fingerprint() -> None:
    with torch.device("meta"):
        models = QwenImageTransformer2DModel(), AutoencoderKLQwenImage()
    found = [shapes_of(model) for model in models]
    # As PyPI's diffsynth 2.0.0 lists them for Qwen/Qwen-Image.
    assert [fingerprint(shapes) for shapes in found] == [
        "0319a1cb19835fb510907dd3367c95ff", "ed4ea5824d55ec3107b09815e318123a",
    ]  # fmt: skip
    config = qwen_image_config(found[0])
    assert config is not None
    said = {name: models[0].config[name] for name in config}
    assert config == said
    assert qwen_image_shapes(config) == found[0]


def test_a_teacher_of_real_size_is_read_without_its_values(folder: Path) -> None:
    transformers = importlib.import_module("transformers")
    with torch.device("meta"):
        config = transformers.Qwen2_5_VLConfig(text_config=QWEN_7B["text"], vision_config=QWEN_7B["vision"])
        model = transformers.Qwen2_5_VLForConditionalGeneration(config)
        dit = shapes_of(QwenImageTransformer2DModel())
    before = (("model.language_model.", "model."), ("model.visual.", "visual."))
    vlm = {}
    for name, shape in shapes_of(model).items():
        old = next((b + name.removeprefix(a) for a, b in before if name.startswith(a)), name)
        vlm[old] = shape
    twins.sparse(folder / "dit.safetensors", dit)
    twins.sparse(folder / "vlm/model.safetensors", vlm)
    config.architectures = ["Qwen2_5_VLForConditionalGeneration"]
    config.save_pretrained(folder / "vlm")
    facts = inspect(folder)
    assert network(facts, "dit").known_as == "Qwen-Image's transformer (20.4 B parameters)"
    assert network(facts, "vlm").known_as == "Qwen2.5-VL 7B"
    assert network(facts, "dit").parameters == 20_430_401_088
    assert 53 < facts.cost.weights_gib < 54
    assert facts.cost.weights_gib < facts.cost.vram_gib < facts.cost.weights_gib + 6
    assert {"L4"} <= set(facts.cost.too_small)
    # 20 steps of 20.4 B weights on 8,192 tokens of pictures: half of them work on those, and half on fewer words.
    assert 20 * 10.2e9 * 8192 < facts.cost.tera_macs * 1e12 < 2 * 20 * 20.4e9 * 8192
    assert facts.cost.seconds["H200"] < facts.cost.seconds["A100 80 GB"]
    # The tiny adapter is none of this network, and says so by layer.
    assert any("0.attn." in text and "for [3072, 3072]" in text for text in facts.foreign)
    assert not facts.missing
    assert not facts.usable


def test_what_is_missing_or_foreign_is_told_by_name(folder: Path) -> None:
    tensors = load_file(folder / "dit.safetensors")
    del tensors["transformer_blocks.1.attn.to_q.bias"]
    tensors["surprise.weight"] = torch.zeros(2)
    save_file(tensors, folder / "dit.safetensors")
    shutil.rmtree(folder / "vae")
    (folder / "prompt.txt").unlink()
    (folder / "train.log").touch()
    facts = inspect(folder)
    missing = "\n".join(facts.missing)
    assert "dit: transformer_blocks.1.attn.to_q.bias" in missing
    assert "vae: vae or Qwen-Image-Edit-2509/vae" in missing
    assert "prompt.txt: the fixed prompt" in missing
    assert (facts.foreign, facts.unread) == (("dit: surprise.weight",), ("train.log",))
    assert not facts.usable


def test_a_layer_that_lacks_what_its_siblings_have_is_told(folder: Path) -> None:
    tensors = load_file(folder / "vlm/model.safetensors")
    gone = next(name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))
    del tensors[gone]
    extra = {
        name.replace("layers.0", "layers.2"): value.clone() for name, value in tensors.items() if "layers.0" in name
    }
    save_file(tensors | extra, folder / "vlm/model.safetensors", metadata={"format": "pt"})
    assert f"vlm: {gone}" in inspect(folder).missing


def test_more_words_than_rows_are_told(folder: Path) -> None:
    path = folder / "vlm/tokenizer.json"
    said = json.loads(path.read_text())
    said["model"]["vocab"]["zebra"] = 900
    path.write_text(json.dumps(said))
    assert any(text.startswith("WORDS: vlm: the tokenizer has 901 words") for text in inspect(folder).warnings)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"text_config": {"architectures": [QWEN], "num_attention_heads": "many"}},
            "not one of the class that it names",
        ),
        ({"architectures": ["BertModel"]}, f"is BertModel; {QWEN} belongs there"),
        ({"vision_config": 7}, "not one of the class that it names"),
    ],
)
def test_a_strange_configuration_is_refused(folder: Path, changed: dict[str, Any], told: str) -> None:
    path = folder / "vlm/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(CheckpointError, match=told):
        inspect(folder)


def test_a_damaged_file_is_refused(folder: Path) -> None:
    path = folder / "dit.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match=r"dit.safetensors: is truncated"):
        inspect(folder)


def test_the_command_needs_no_torch_and_fails_where_something_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["teacher", "inspect", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["usable"]
    TeacherFacts.model_validate({k: v for k, v in told.items() if k != "usable"})
    (folder / "dit.safetensors").unlink()
    assert cli.run(["teacher", "inspect", str(folder)]) == 1
    assert "missing      dit: dit.safetensors (QwenImageTransformer2DModel)" in capsys.readouterr().out


def test_pickles_are_refused_with_the_command_that_converts_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model/ckpt"
    (folder / "controlnet").mkdir(parents=True)
    (folder / "controlnet/config.json").write_text('{"_class_name": "ControlNetModel"}')
    save_file({"conv_in.weight": torch.zeros(2)}, folder / "controlnet/diffusion_pytorch_model.safetensors")
    weights = {"conv_out.weight": torch.randn(4, 320, 3, 3), "conv_out.bias": torch.randn(4)}
    torch.save(weights, folder / "unet_conv_out.pth")
    told = next(text for text in inspect(tmp_path).missing if text.startswith("conv_out"))
    assert "is a pickle" in told
    words = told.partition("pocketcrafter ")[2].split()
    assert cli.run(words) == 0
    found = load_file(folder / "unet_conv_out.safetensors")
    assert found.keys() == weights.keys()
    assert torch.equal(found["conv_out.weight"], weights["conv_out.weight"])
    assert not any(text.startswith("conv_out") for text in inspect(tmp_path).missing)
    capsys.readouterr()


class _Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pwned"),)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Command()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth: torch's restricted loader refuses it"):
        convert_pickle(tmp_path / "evil.pth", tmp_path / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pth"]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_what_is_no_pickle_of_torch_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "some.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"some\.pth: "):
        convert_pickle(tmp_path / "some.pth", tmp_path / "out.safetensors")


def test_converting_overwrites_nothing(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "some.pth")
    (tmp_path / "out.safetensors").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="is there already"):
        convert_pickle(tmp_path / "some.pth", tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("spdx", "forbidden"),
    [
        ("CC-BY-NC-SA-4.0", True), ("LicenseRef-qwen-research", True), ("LicenseRef-flux-1-dev-non-commercial", True),
        ("Apache-2.0", False), ("BSD-3-Clause", False), ("LicenseRef-openrail++", False), ("NCSA", False),
    ],
)  # fmt: skip
def test_which_licences_forbid_commerce(spdx: str, forbidden: bool) -> None:
    assert forbids_commerce(spdx) is forbidden


@pytest.mark.parametrize(
    ("make", "system"), [("dreamlite", SystemName.DREAMLITE), ("instruct_pix2pix", SystemName.GENERIC)]
)
def test_pipelines_are_known_by_their_class(make: str, system: SystemName, tmp_path: Path) -> None:
    folder = getattr(twins, make)(tmp_path / "pipeline")
    facts = inspect(folder)
    assert (facts.system, facts.missing, facts.foreign, facts.unread) == (system, (), (), ())
    assert {found.name for found in facts.networks} == {"unet", "vae", "text_encoder"}
    assert facts.commercial is None
    assert facts.cost.tera_macs > 0
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Card\n")
    facts = inspect(folder)
    assert (facts.license, facts.commercial) == ("Apache-2.0", True)


def test_a_pair_is_a_teacher_too_and_samples_as_its_configuration_says(latent_twin: Path) -> None:
    facts = inspect(latent_twin)
    assert (facts.system, facts.missing, facts.foreign, facts.unread) == (SystemName.PAIR, (), (), ())
    assert {found.name for found in facts.networks} == {"critic", "unet", "vae"}
    sampling = read_layout(latent_twin).system.sampling
    config = read_pair(latent_twin).config
    assert (sampling.answer, sampling.steps) == (config.longest_answer, config.steps)
    assert facts.cost.tera_macs > 0


def test_a_network_that_sees_no_picture_is_no_critic(latent_twin: Path) -> None:
    with pytest.raises(CheckpointError, match="UNet2DConditionModel sees no picture"):
        inspect(latent_twin / "artist/unet")
