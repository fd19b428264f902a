"""Teachers that are pipelines of diffusers do what their own classes do, composed by hand as their releases say."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import diffusers  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForImageTextToText,
    AutoTokenizer,
    Idefics3ImageProcessor,
    Idefics3Processor,
    Qwen2VLImageProcessor,
)

from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.export.teachers.systems import SYSTEMS, SystemName  # noqa: E402
from pocketcrafter.export.teachers.teacher import Wish, load_teacher  # noqa: E402
from pocketcrafter.runtime.errors import BackendError  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twins = importlib.import_module("twins")
smol = importlib.import_module("twin")
EDIT_PLUS = importlib.import_module("diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus")

STEPS = 3
SIDE = 96
SEED = 1234


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 140, 3), np.uint8))


def sampling(name: SystemName) -> Any:
    return replace(SYSTEMS[name].sampling, side=SIDE, steps=STEPS, answer=8)


@pytest.fixture(scope="module")
def smaller() -> Any:
    """Let diffusers' pipeline show the photo smaller than the million pixels that it has as a constant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EDIT_PLUS, "VAE_IMAGE_SIZE", 64 * 96)
        patch.setattr(EDIT_PLUS, "CONDITION_IMAGE_SIZE", SIDE**2)
        yield


@pytest.fixture(scope="module")
def aesformer(smaller: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    del smaller
    folder = Path(twins.aesformer(tmp_path_factory.mktemp("teacher") / "aesformer"))
    return folder, load_teacher(folder, dtype=torch.float32, sampling=sampling(SystemName.AESFORMER))


def test_the_plan_keeps_the_marks_that_were_added_to_the_tokenizer(
    aesformer: tuple[Path, Any], photo: Image.Image
) -> None:
    folder, teacher = aesformer
    plan = teacher.critique(photo)
    words = AutoTokenizer.from_pretrained(folder / "planner")
    shown = Qwen2VLImageProcessor.from_pretrained(folder / "planner")(images=[photo], return_tensors="pt")
    places = int(shown["image_grid_thw"].prod()) // 4
    text = (
        f"<|im_start|>user\n<|vision_start|>{'<|image_pad|>' * places}<|vision_end|>{twins.PROMPT}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    given = words(text, return_tensors="pt")
    model = AutoModelForImageTextToText.from_pretrained(folder / "planner", dtype=torch.float32).eval()
    made = model.generate(
        input_ids=given["input_ids"], attention_mask=given["attention_mask"], **shown, max_new_tokens=8, do_sample=False
    )
    expected = words.decode(made[0, given["input_ids"].shape[1] :], skip_special_tokens=False)
    assert plan.text == expected.replace("<|im_end|>", "").strip()
    assert any(mark in plan.text for mark in twins.MARKS)
    assert "<|im_end|>" not in plan.text


def _with_lora(transformer: Any, folder: Path) -> None:
    """Add a LoRA's product beside each layer, the weights as they are."""
    tensors = load_file(folder / "lora/aesformer.safetensors")
    for name in ("to_q", "to_out_0"):
        key = f"lora_unet_transformer_blocks_0_attn_{name}"
        down, up = tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]
        scale = float(tensors[f"{key}.alpha"]) / len(down)

        def add(_layer: Any, given: Any, made: Any, down: Any = down, up: Any = up, scale: float = scale) -> Any:
            return made + scale * (given[0] @ down.T @ up.T)

        transformer.transformer_blocks[0].attn.get_submodule(
            name.replace("to_out_0", "to_out.0")
        ).register_forward_hook(add)


def _conditions(pipeline: Any, folder: Path, photo: Image.Image, prompt: str) -> Any:
    """What the text encoder makes of a prompt, as the pipeline's templates say."""
    pictures = Qwen2VLImageProcessor.from_pretrained(folder / "processor")
    width, height = EDIT_PLUS.calculate_dimensions(SIDE**2, photo.width / photo.height)
    shown = pictures(images=[pipeline.image_processor.resize(photo, height, width)], return_tensors="pt")
    places = int(shown["image_grid_thw"].prod()) // 4
    text = f"Picture 1: <|vision_start|>{'<|image_pad|>' * places}<|vision_end|>{prompt}"
    ids = pipeline.tokenizer(pipeline.prompt_template_encode.format(text), return_tensors="pt")
    told = pipeline.text_encoder(**ids, **shown, output_hidden_states=True).hidden_states[-1]
    return told[:, pipeline.prompt_template_encode_start_idx :]


def test_aesformers_editor_is_diffusers_pipeline_with_the_lora_beside_it(
    aesformer: tuple[Path, Any], photo: Image.Image
) -> None:
    folder, teacher = aesformer
    plan = teacher.critique(photo)
    run = teacher.trajectory(photo, Wish(critique=plan))
    editor = folder / "Qwen-Image-Edit-2511"
    networks = {
        "transformer": diffusers.QwenImageTransformer2DModel.from_pretrained(editor / "transformer"),
        "text_encoder": AutoModelForImageTextToText.from_pretrained(editor / "text_encoder", dtype=torch.float32),
    }
    _with_lora(networks["transformer"], folder)
    pipeline = diffusers.QwenImageEditPlusPipeline.from_pretrained(editor, processor=None, **networks)
    kept: list[Any] = []

    def keep(_pipeline: Any, _step: int, _time: Any, given: dict[str, Any]) -> dict[str, Any]:
        kept.append(given["latents"].clone())
        return given

    with torch.no_grad():
        conditions = [_conditions(pipeline, editor, photo, prompt) for prompt in (plan.text, " ")]
        width, height = EDIT_PLUS.calculate_dimensions(SIDE**2, photo.width / photo.height)
        made = pipeline(
            image=[photo], prompt_embeds=conditions[0], negative_prompt_embeds=conditions[1], true_cfg_scale=4.0,
            prompt_embeds_mask=None, negative_prompt_embeds_mask=None, num_inference_steps=STEPS, height=height,
            width=width, generator=torch.Generator().manual_seed(SEED), callback_on_step_end=keep,
        )  # fmt: skip
    np.testing.assert_allclose(run.latents[1:], torch.cat(kept).numpy(), rtol=1e-3, atol=1e-4)
    error = np.asarray(run.picture, float) - np.asarray(made.images[0], float)
    assert 10 * np.log10(255**2 / max(np.mean(error**2), 1e-9)) > 60


def test_an_editor_of_before_2511_is_refused(aesformer: tuple[Path, Any], tmp_path: Path) -> None:
    shutil = importlib.import_module("shutil")
    folder = Path(shutil.copytree(aesformer[0], tmp_path / "aesformer"))
    config = folder / "Qwen-Image-Edit-2511/transformer/config.json"
    config.write_text(config.read_text().replace('"zero_cond_t": true', '"zero_cond_t": false'))
    with pytest.raises(CheckpointError, match=r"zero_cond_t is not set"):
        load_teacher(folder, dtype=torch.float32)


def test_any_pipeline_gives_what_its_own_class_gives(photo: Image.Image, tmp_path: Path) -> None:
    folder = twins.instruct_pix2pix(tmp_path / "pipeline")
    photo = photo.resize((64, 64))
    teacher = load_teacher(folder, dtype=torch.float32, sampling=sampling(SystemName.GENERIC))
    assert teacher.layout.name is SystemName.GENERIC
    run = teacher.trajectory(photo, Wish(instruction="warm", seed=3))
    pipeline = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(folder, safety_checker=None)
    kept: list[Any] = []

    def keep(_pipeline: Any, _step: int, _time: Any, given: dict[str, Any]) -> dict[str, Any]:
        kept.append(given["latents"].clone())
        return given

    made = pipeline(
        "warm", image=photo, num_inference_steps=STEPS, generator=torch.Generator().manual_seed(3),
        callback_on_step_end=keep,
    )  # fmt: skip
    assert run.latents.shape == (STEPS + 1, 4, 8, 8)
    np.testing.assert_allclose(run.latents[1:], torch.cat(kept).numpy(), atol=1e-5)
    assert np.array_equal(np.asarray(run.picture), np.asarray(made.images[0]))
    assert run.times.tolist() == [float(time) for time in pipeline.scheduler.timesteps]


def test_dreamlite_runs_by_its_own_class(photo: Image.Image, tmp_path: Path) -> None:
    folder = twins.dreamlite(tmp_path / "dreamlite")
    photo = photo.resize((64, 64))
    teacher = load_teacher(folder, dtype=torch.float32, sampling=sampling(SystemName.DREAMLITE))
    assert (teacher.layout.name, type(teacher.pipeline)) == (SystemName.DREAMLITE, diffusers.DreamLiteMobilePipeline)
    run = teacher.trajectory(photo, Wish(instruction="warm light"))
    assert run.latents.shape == (STEPS + 1, 4, 8, 8)
    again = teacher.trajectory(photo, Wish(instruction="warm light"))
    assert np.array_equal(again.latents, run.latents)
    other = teacher.trajectory(photo, Wish(instruction="cold light"))
    assert np.array_equal(other.latents[0], run.latents[0])
    assert not np.array_equal(other.latents[1], run.latents[1])
    with pytest.raises(BackendError, match=r"edits by an instruction; give one"):
        teacher.edit(photo)
    with pytest.raises(BackendError, match=r"DreamLite has no critic"):
        teacher.critique(photo)


def test_a_model_alone_answers_as_transformers_lets_it(photo: Image.Image, tmp_path: Path) -> None:
    torch.manual_seed(2)
    words = smol.tokenizer()
    smol.critic(len(words)).save_pretrained(tmp_path)
    pictures = Idefics3ImageProcessor(
        size={"longest_edge": 128}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    processor = Idefics3Processor(pictures, words, image_seq_len=4, chat_template=words.chat_template)
    processor.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"prompt\.txt: missing; write into it"):
        load_teacher(tmp_path, dtype=torch.float32)
    (tmp_path / "prompt.txt").write_text("Judge it.")
    teacher = load_teacher(tmp_path, dtype=torch.float32, sampling=sampling(SystemName.GENERIC))
    said = teacher.critique(photo)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32).eval()
    text = "<|im_start|>User:<image>Judge it.<end_of_utterance>\nAssistant:"
    given = processor(text=text, images=[photo], return_tensors="pt", add_special_tokens=False)
    made = model.generate(
        **given, max_new_tokens=8, do_sample=False, output_hidden_states=True, return_dict_in_generate=True
    )
    assert np.array_equal(said.prompt, given["input_ids"][0])
    assert np.array_equal(said.ids, made.sequences[0, len(said.prompt) :])
    np.testing.assert_allclose(said.hidden, torch.cat([s[-1][0] for s in made.hidden_states]).detach(), atol=1e-5)
    with pytest.raises(BackendError, match=r"a critic alone; it edits nothing"):
        teacher.edit(photo)


def test_a_system_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    (tmp_path / "model/ckpt/controlnet").mkdir(parents=True)
    config = '{"_class_name": "ControlNetModel"}'
    (tmp_path / "model/ckpt/controlnet/config.json").write_text(config)
    save_file(
        {"conv_in.weight": torch.zeros(2)}, tmp_path / "model/ckpt/controlnet/diffusion_pytorch_model.safetensors"
    )
    with pytest.raises(
        BackendError, match=r"PerTouch can be inspected alone: .* in an order that no configuration tells"
    ):
        load_teacher(tmp_path)
