"""Folders as they come: other types and forms of weights are taken, damage is told by file and key before any work."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForImageTextToText  # noqa: E402

from pocketcrafter.export.families.latent.networks import TorchPair  # noqa: E402
from pocketcrafter.export.families.latent.pair import read_pair  # noqa: E402
from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.latent.picture import critics_picture  # noqa: E402
from pocketcrafter.runtime.photo import Photo  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twin = importlib.import_module("twin")

UNET = "artist/unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(twin.save_pair(tmp_path_factory.mktemp("whole") / "pair"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(twin.copied(whole, tmp_path / "pair"))


def _rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def _answer(folder: Path) -> Any:
    pair = TorchPair(read_pair(folder))
    assert pair.critic is not None
    assert pair.settings.critic is not None
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    return pair.critic.answer(critics_picture(Photo(pixels), pair.settings.critic.picture))


def test_a_processor_that_cuts_pictures_is_refused(folder: Path) -> None:
    path = folder / "critic/preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_image_splitting": True}))
    with pytest.raises(CheckpointError, match=r"do_image_splitting is on, and bundles .* `whole_picture: true`"):
        read_pair(folder)
    said = (folder / "pair.yaml").read_text()
    (folder / "pair.yaml").write_text(f"{said}whole_picture: true\n")
    assert read_pair(folder).critic is not None


def test_shards_are_one_network(whole: Path, folder: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(folder / "critic", dtype=torch.float32)
    (folder / "critic/model.safetensors").unlink()
    model.save_pretrained(folder / "critic", max_shard_size="40KB")
    assert len(list((folder / "critic").glob("model-*.safetensors"))) > 1
    shutil.rmtree(folder / "artist")
    (folder / "bridge.safetensors").unlink()
    expected, made = _answer(whole), _answer(folder)
    assert made.ids == expected.ids
    # On some processors products round by where in memory the weights lie.
    np.testing.assert_allclose(made.hidden, expected.hidden, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_means_what_it_holds(folder: Path, dtype: Any) -> None:
    """The same network, whether its rounded weights are stored in 16 bits or in 32."""
    path = folder / UNET
    _rewrite(path, lambda t: t.update({name: value.to(dtype) for name, value in t.items()}))
    made = TorchPair(read_pair(folder)).artist
    _rewrite(path, lambda t: t.update({name: value.float() for name, value in t.items()}))
    expected = TorchPair(read_pair(folder)).artist
    assert made is not None
    assert expected is not None
    picture = np.random.default_rng(1).random((twin.SIDE, twin.SIDE, 3), np.float32)
    hidden = np.random.default_rng(2).standard_normal((20, 32), np.float32)
    np.testing.assert_array_equal(made.edit(picture, hidden), expected.edit(picture, hidden))


def _truncated(folder: Path) -> None:
    data = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(data[:-100])


def _without_shard(folder: Path) -> None:
    critic = folder / "critic"
    index = {"weight_map": dict.fromkeys(load_file(critic / "model.safetensors"), "model-00001-of-00002.safetensors")}
    (critic / "model.safetensors").unlink()
    (critic / "model.safetensors.index.json").write_text(json.dumps(index))


def _pickled(folder: Path) -> None:
    (folder / UNET).rename(folder / UNET.replace(".safetensors", ".bin"))


def _of_another_class(folder: Path) -> None:
    path = folder / "artist/unet/config.json"
    path.write_text(path.read_text().replace("UNet2DConditionModel", "UNet3DConditionModel"))


def _nan(folder: Path) -> None:
    _rewrite(folder / UNET, lambda t: t["conv_out.weight"].view(-1)[7].fill_(float("nan")))


def _infinite(folder: Path) -> None:
    _rewrite(
        folder / "critic/model.safetensors",
        lambda t: t.update({"lm_head.weight": torch.full_like(t["lm_head.weight"], float("inf")).bfloat16()}),
    )


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_truncated, ["unet/diffusion_pytorch_model.safetensors: is truncated", "Download it again"]),
        (_without_shard, ["model-00001-of-00002.safetensors is not there", "download what is missing"]),
        (_pickled, ["there is only diffusion_pytorch_model.bin, which can run code", "safe_serialization=True"]),
        (_of_another_class, ["UNet3DConditionModel is not known; known are UNet2DConditionModel"]),
        (_nan, ["unet/diffusion_pytorch_model.safetensors: `conv_out.weight`: values that are not finite"]),
        (_infinite, ["critic/model.safetensors: `lm_head.weight`: values that are not finite", "Download"]),
    ],
)
def test_damage_is_told_before_any_stage_runs(
    folder: Path, damage: Callable[[Path], None], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder)
    assert cli.run(["build", str(folder), "--target", "onnx", "--dry-run"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert all(sentence in said for sentence in told), said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.pop("conv_in.bias"), r"conv_in\.bias: missing"),
        (lambda t: t.update(surplus=torch.ones(3)), r"surplus: unexpected; the network has no place for it"),
        (
            lambda t: t.update({"conv_in.bias": torch.ones(3)}),
            r"conv_in\.bias: \[3\] in the file, \[8\] in the network",
        ),
    ],
)
def test_keys_that_do_not_fit_are_told_when_the_network_is_loaded(
    folder: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    _rewrite(folder / UNET, change)
    with pytest.raises(CheckpointError, match=told):
        TorchPair(read_pair(folder))
