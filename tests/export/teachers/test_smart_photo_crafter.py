"""SmartPhotoCrafter's adapter is its release: held against DiffSynth-Studio's own pipeline, and trap by trap."""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.export.teachers.smart_photo_crafter import prepared, schedule  # noqa: E402
from pocketcrafter.export.teachers.systems import SYSTEMS, SystemName  # noqa: E402
from pocketcrafter.export.teachers.teacher import Wish, load_teacher  # noqa: E402

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
twins = importlib.import_module("twins")

SAMPLING = replace(SYSTEMS[SystemName.SMART_PHOTO_CRAFTER].sampling, side=128, steps=4, answer=6)
REFERENCE = Path(sys.prefix) / "reference"
"""`make test` puts diffsynth there, without what it depends on."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(twins.smart_photo_crafter(tmp_path_factory.mktemp("teacher") / "crafter"))


@pytest.fixture(scope="module")
def teacher(folder: Path) -> Any:
    return load_teacher(folder, dtype=torch.float32, sampling=SAMPLING)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return noise(230, 150)


@pytest.fixture(scope="module")
def made(teacher: Any, photo: Image.Image) -> tuple[Any, Any]:
    critique = teacher.critique(photo)
    return critique, teacher.trajectory(photo, Wish(critique=critique, seed=1))


def test_several_photos_are_answered_at_once_as_one_after_another(teacher: Any, photo: Image.Image) -> None:
    """Prompts of other lengths are padded in front, and an answer that ends early takes nothing of the longest."""
    shots = [photo, noise(150, 230), noise(96, 96)]
    generation = teacher._critic._model.generation_config
    own, longest = generation.eos_token_id, teacher.critique(photo).ids
    generation.eos_token_id = [int(longest[2])]
    try:
        alone, together = [teacher.critique(shot) for shot in shots], teacher.critiques(shots)
    finally:
        generation.eos_token_id = own
    assert len({len(said.prompt) for said in alone}) > 1
    assert len(alone[0].ids) <= 3 < len(longest)
    for one, said in zip(alone, together, strict=True):
        assert said.text == one.text
        assert np.array_equal(said.prompt, one.prompt)
        assert np.array_equal(said.ids, one.ids)
        np.testing.assert_allclose(said.hidden, one.hidden, rtol=1e-3, atol=1e-4)


def test_latents_and_picture_are_those_of_diffsynths_own_pipeline(
    folder: Path, photo: Image.Image, made: tuple[Any, Any], tmp_path: Path
) -> None:
    if importlib.util.find_spec("diffsynth") is None and not (REFERENCE / "diffsynth").is_dir():
        pytest.skip("diffsynth 2.0.0 is not installed: make reference")
    critique, run = made
    first, second = prepared(photo, SAMPLING.side)
    large = noise(1703, 1111)
    given = {
        "hidden": critique.hidden, "size": np.array(first.size), "seed": 1, "steps": SAMPLING.steps,
        "shown": np.asarray(second), "photo": np.asarray(large), "first": np.asarray(prepared(large, 1024)[0]),
    }  # fmt: skip
    np.savez(tmp_path / "in.npz", **given)
    script, there = str(HERE / "diffsynth_reference.py"), str(tmp_path / "out.npz")
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, script, str(folder), str(tmp_path / "in.npz"), there],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(there)
    assert np.array_equal(found["latents"][0], run.latents[0])
    apart = [np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(found["latents"], run.latents, strict=True)]
    # A gate of 1e-5 catches each of the ways in which diffusers and the release part (2e-3 and more).
    assert max(apart) < 1e-5
    np.testing.assert_allclose(found["times"], run.times, rtol=1e-6)
    error = found["picture"].astype(float) - np.asarray(run.picture, float)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 60
    assert tuple(found["first_size"][::-1]) == prepared(large, 1024)[0].size
    assert np.array_equal(found["second"], np.asarray(prepared(large, 1024)[1]))


def test_the_conditions_are_all_hidden_states_that_the_critic_reads_and_writes(
    teacher: Any, photo: Image.Image, made: tuple[Any, Any]
) -> None:
    critique, run = made
    assert len(critique.hidden) == len(critique.prompt) + len(critique.ids) - 1
    # In one pass over prompt and answer, without caches.
    critic = teacher._critic
    inputs = critic.inputs([prepared(photo, SAMPLING.side)[1]], twins.PROMPT)
    ids = torch.cat([inputs["input_ids"], torch.from_numpy(critique.ids[:-1])[None].long()], 1)
    with torch.no_grad():
        told = critic._model(
            input_ids=ids, pixel_values=inputs["pixel_values"], image_grid_thw=inputs["image_grid_thw"],
            attention_mask=torch.ones_like(ids), output_hidden_states=True,
        )  # fmt: skip
    np.testing.assert_allclose(critique.hidden, told.hidden_states[-1][0].numpy(), atol=2e-5)
    assert run.conditions is critique.hidden
    places = int(inputs["image_grid_thw"].prod()) // 4
    assert (critique.prompt == critic._words.convert_tokens_to_ids("<|image_pad|>")).sum() == places > 1


def test_the_adapter_is_applied_with_the_releases_factor_and_not_with_its_configurations(
    teacher: Any, folder: Path
) -> None:
    lora = load_file(folder / "dit_lora/adapter_model.safetensors")
    name = "transformer_blocks.1.attn.add_q_proj"
    down, up = (lora[f"base_model.model.{name}.lora_{x}.weight"] for x in "AB")
    base = load_file(folder / "dit.safetensors")[f"{name}.weight"]
    torch.testing.assert_close(teacher._dit.state_dict()[f"{name}.weight"], base + 2 * up @ down)


def test_the_critics_adapter_is_applied_as_its_configuration_says(teacher: Any, folder: Path) -> None:
    lora = load_file(folder / "vlm_lora/adapter_model.safetensors")
    name = "model.language_model.layers.0.self_attn.q_proj"
    down, up = (lora[f"base_model.model.{name}.lora_{x}.weight"] for x in "AB")
    base = load_file(folder / "vlm/model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    torch.testing.assert_close(teacher._critic._model.state_dict()[f"{name}.weight"], base + 2 * up @ down)


def test_the_transformer_has_the_releases_gelu(teacher: Any) -> None:
    layer = teacher._dit.transformer_blocks[0].txt_mlp.net[0]
    x = torch.randn(3, 128)
    y = layer.proj(x)
    torch.testing.assert_close(layer(x), y * torch.sigmoid(1.702 * y))


def test_nothing_is_drawn_but_the_seeded_noise(teacher: Any, photo: Image.Image, made: tuple[Any, Any]) -> None:
    critique, run = made
    torch.manual_seed(77)  # what an unseeded sample of the autoencoder's distribution would follow
    again = teacher.trajectory(photo, Wish(critique=critique, seed=1))
    assert np.array_equal(again.latents, run.latents)
    assert not np.array_equal(teacher.trajectory(photo, Wish(critique=critique, seed=2)).latents[0], run.latents[0])


def test_the_photo_is_scaled_twice(made: tuple[Any, Any], photo: Image.Image) -> None:
    first, second = prepared(noise(1703, 1111), 1024)
    assert (first.size, second.size) == ((1264, 816), (1280, 832))
    assert second.size != prepared(noise(1300, 700), 1024)[1].size
    # Small photos are not enlarged the first time, and are the second time.
    assert tuple(picture.size for picture in prepared(noise(100, 50), 128)) == ((96, 48), (192, 96))
    # The picture is of the first size, and the critic saw the second one.
    critique, run = made
    assert run.picture.size == prepared(photo, SAMPLING.side)[0].size == (144, 96)
    assert run.latents.shape == (5, 16, 12, 18)
    assert prepared(photo, SAMPLING.side)[1].size == (160, 96)
    assert len(critique.prompt) > 0


def test_the_schedule_ends_at_the_releases_terminal_and_follows_the_pictures_size() -> None:
    sigmas, times = schedule(4, 54)
    assert sigmas[0] == 1
    assert sigmas[-1] == 0
    assert float(sigmas[-2]) == pytest.approx(0.02, abs=1e-6)
    assert not torch.allclose(times, schedule(4, 4096)[1], rtol=1e-2)


def test_without_the_prompt_of_the_release_nothing_is_guessed(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "crafter"))
    (copy / "prompt.txt").unlink()
    with pytest.raises(CheckpointError, match=r"prompt\.txt: the fixed prompt that SmartPhotoCrafter's own code has"):
        load_teacher(copy, dtype=torch.float32, sampling=SAMPLING)


def test_noise_is_drawn_in_the_precision_of_the_release(
    folder: Path, photo: Image.Image, made: tuple[Any, Any]
) -> None:
    teacher = load_teacher(folder, sampling=SAMPLING)
    assert teacher.dtype is torch.bfloat16
    run = teacher.trajectory(photo, Wish(critique=teacher.critique(photo), seed=1))
    # A generator makes other numbers of a seed in another precision.
    drawn = torch.randn(1, 16, 12, 18, generator=torch.Generator().manual_seed(1), dtype=torch.bfloat16)
    assert np.array_equal(run.latents[:1], drawn.float().numpy())
    assert not np.array_equal(run.latents[0], made[1].latents[0])
    assert np.isfinite(run.latents).all()
