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
    CLIPTextModel,
    CLIPTokenizer,
    Idefics3ImageProcessor,
    Idefics3Processor,
    Qwen2VLImageProcessor,
)

from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.export.teachers.pertouch import read_maps  # noqa: E402
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
MAPS = 64


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
    shots = [photo, photo.rotate(90, expand=True), photo.resize((64, 64))]
    for shot, together in zip(shots, teacher.critiques(shots), strict=True):
        alone = teacher.critique(shot)
        assert (together.text, together.ids.tolist()) == (alone.text, alone.ids.tolist())
        np.testing.assert_allclose(together.hidden, alone.hidden, atol=1e-4)
    with pytest.raises(BackendError, match=r"a critic alone; it edits nothing"):
        teacher.edit(photo)


@pytest.fixture(scope="module")
def pertouch(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = Path(twins.pertouch(tmp_path_factory.mktemp("teacher") / "pertouch"))
    return folder, load_teacher(folder, sampling=replace(sampling(SystemName.PERTOUCH), side=MAPS))


@pytest.fixture(scope="module")
def levels() -> Any:
    return np.random.default_rng(4).uniform(-1, 1, (4, MAPS, MAPS)).astype(np.float32)


class _Embedding(torch.nn.Module):
    """The release's condition, by the tensors of its file."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        tensors = load_file(folder / "model/ckpt/controlnet/diffusion_pytorch_model.safetensors")
        prefix = "controlnet_cond_embedding."
        self.own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        self.photo = torch.empty(0)

    def _through(self, name: str, given: Any, stride: int = 1) -> Any:
        weight, bias = (self.own[f"{name}.{part}"] for part in ("weight", "bias"))
        return torch.nn.functional.conv2d(given, weight, bias, padding=1, stride=stride)

    def forward(self, maps: Any) -> Any:
        made = torch.nn.functional.silu(self._through("conv_in", maps))
        for number in range(6):
            made = torch.nn.functional.silu(self._through(f"blocks.{number}", made, 1 + number % 2))
        return self._through("conv_out", torch.cat((self._through("conv_img", self.photo), made), 1))


def test_pertouch_is_diffusers_pipeline_with_its_condition_and_its_last_convolution(
    pertouch: tuple[Path, Any], photo: Image.Image, levels: Any
) -> None:
    folder, teacher = pertouch
    assert (teacher.dtype, teacher.layout.name) == (torch.float32, SystemName.PERTOUCH)
    run = teacher.trajectory(photo, Wish(maps=levels))
    base, embedding = folder / "stable-diffusion-2-1", _Embedding(folder)
    kept = dict(diffusers.ControlNetModel.load_config(folder / "model/ckpt/controlnet"))
    control = diffusers.ControlNetModel.from_config(kept)
    control.controlnet_cond_embedding = torch.nn.Identity()
    weights = load_file(folder / "model/ckpt/controlnet/diffusion_pytorch_model.safetensors")
    control.load_state_dict({n: t for n, t in weights.items() if not n.startswith("controlnet_cond_embedding.")})
    control.controlnet_cond_embedding = embedding
    vae, unet = (
        kind.from_pretrained(base, subfolder=name)
        for kind, name in ((diffusers.AutoencoderKL, "vae"), (diffusers.UNet2DConditionModel, "unet"))
    )
    last = load_file(folder / "model/ckpt/unet_conv_out.safetensors")
    unet.conv_out = torch.nn.Identity()
    unet.register_forward_hook(
        lambda _unet, _given, made: (torch.nn.functional.conv2d(made[0], last["weight"], last["bias"], padding=1),)
    )
    pipeline = diffusers.StableDiffusionControlNetPipeline(
        vae=vae, unet=unet, controlnet=control, text_encoder=CLIPTextModel.from_pretrained(base / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(base / "tokenizer"), safety_checker=None, feature_extractor=None,
        scheduler=diffusers.DDIMScheduler.from_pretrained(base / "scheduler"), requires_safety_checker=False,
    )  # fmt: skip
    shown = photo.resize((MAPS, MAPS), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(shown, np.float32) / 255).permute(2, 0, 1)[None] * 2 - 1
    steps: list[Any] = []

    def keep(_pipeline: Any, _step: int, _time: Any, given: dict[str, Any]) -> dict[str, Any]:
        steps.append(given["latents"].clone())
        return given

    with torch.no_grad():
        embedding.photo = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
        noise = torch.randn(embedding.photo.shape, generator=torch.Generator().manual_seed(42))
        made = pipeline(
            "", image=torch.from_numpy(levels)[None], latents=noise, num_inference_steps=STEPS, guidance_scale=0,
            callback_on_step_end=keep,
        ).images[0]  # fmt: skip
    assert torch.equal(torch.from_numpy(run.latents[:1]), noise)
    np.testing.assert_allclose(run.latents[1:], torch.cat(steps).numpy(), rtol=1e-4, atol=1e-5)
    assert run.picture.size == photo.size
    right = np.asarray(made.resize(photo.size, Image.Resampling.LANCZOS), float)
    assert np.abs(np.asarray(run.picture, float) - right).max() <= 1


def test_pertouch_runs_alike_twice_and_reads_its_maps(
    pertouch: tuple[Path, Any], photo: Image.Image, levels: Any, tmp_path: Path
) -> None:
    """The release draws the photo's latents without a seed, so that its own runs differ."""
    teacher = pertouch[1]
    first, again, other = (teacher.trajectory(photo, Wish(maps=maps)).latents for maps in (levels, levels, -levels))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    file = tmp_path / "photo_parameter_map_norm.npz"
    np.savez(file, data=levels.transpose(1, 2, 0).astype(np.float16))
    np.testing.assert_allclose(read_maps(file), levels, atol=1e-3)
    np.savez(file, data=levels)
    with pytest.raises(CheckpointError, match=r"maps are \(height, width, 4\)"):
        read_maps(file)
    with pytest.raises(BackendError, match=r"edits by maps of the levels .* 0 is the median"):
        teacher.edit(photo)
    for wrong in (levels[:3], levels * 2):
        with pytest.raises(BackendError, match=r"PerTouch reads \(4, 64, 64\) in \[-1, 1\]"):
            teacher.edit(photo, Wish(maps=wrong))
    with pytest.raises(BackendError, match=r"PerTouch has no critic"):
        teacher.critique(photo)


def test_a_controlnet_that_reads_no_photo_is_none_of_pertouchs(pertouch: tuple[Path, Any], tmp_path: Path) -> None:
    shutil = importlib.import_module("shutil")
    folder = Path(shutil.copytree(pertouch[0], tmp_path / "pertouch"))
    file = folder / "model/ckpt/controlnet/diffusion_pytorch_model.safetensors"
    save_file({n: t for n, t in load_file(file).items() if "conv_img" not in n}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"(?s)no ControlNet of PerTouch's.*conv_img"):
        load_teacher(folder)


def test_a_system_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/infer_config.yaml").touch()
    (tmp_path / "config.json").write_text('{"architectures": ["LlavaQwen2ForCausalLM"]}')
    save_file({"lm_head.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(BackendError, match=r"VeraRetouch can be inspected alone: .* LlavaQwen2ForCausalLM"):
        load_teacher(tmp_path)
