"""Tiny random teachers in the layouts of their releases."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    DreamLiteUNetModel,
    FlowMatchEulerDiscreteScheduler,
    QwenImageTransformer2DModel,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, Qwen2VLImageProcessor

sys.path.insert(0, str(Path(__file__).parents[1] / "families/latent"))
import qwen_twin as qwen

PROMPT = "Judge it in five steps."
RANK = 2


def transformer(joint: int, **more: Any) -> Any:
    """Qwen-Image's transformer, 128 wide."""
    made = QwenImageTransformer2DModel(num_layers=2, num_attention_heads=1, joint_attention_dim=joint, **more)
    # Layers that begin at nothing would hide what comes before them.
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn_like(weight) / weight.shape[1] ** 0.5)
            elif "norm" not in name:
                weight.copy_(torch.randn_like(weight) / 10)
    return made.eval()


def autoencoder() -> Any:
    made = AutoencoderKLQwenImage(base_dim=8, num_res_blocks=1)
    with torch.no_grad():  # else pictures that are all but gray
        made.decoder.conv_out.weight.mul_(8)
    return made.eval()


def save_lora(folder: Path, shapes: dict[str, tuple[int, int]], prefix: str = "base_model.model.", **said: Any) -> None:
    """Write an adapter of some layers, as PEFT does."""
    folder.mkdir()
    tensors = {}
    for name, (rows, columns) in shapes.items():
        tensors[f"{prefix}{name}.lora_A.weight"] = torch.randn(RANK, columns) / columns**0.5
        tensors[f"{prefix}{name}.lora_B.weight"] = torch.randn(rows, RANK) / 4
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, **said}))


def save_critic(folder: Path, make: Any, added: tuple[str, ...] = (), **processor: Any) -> Any:
    words = qwen.tokenizer(added)
    words.save_pretrained(folder)
    model = make(len(words)).eval()
    model.generation_config.eos_token_id = qwen.SPECIAL.index("<|im_end|>")
    model.save_pretrained(folder)
    Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112, **processor).save_pretrained(folder)
    return model


def smart_photo_crafter(folder: Path, alpha: float = 16.0) -> Path:
    """SmartPhotoCrafter's folder; its adapter's configuration asks for another factor than the release applies."""
    torch.manual_seed(3)
    model = save_critic(folder / "vlm", qwen.qwen25)
    width = model.config.text_config.hidden_size
    dit = transformer(width)
    save_file(dit.state_dict(), folder / "dit.safetensors")
    autoencoder().save_pretrained(folder / "vae")
    inner = 128
    names = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    shapes = {f"transformer_blocks.{n}.attn.{name}": (inner, inner) for n in range(2) for name in names}
    save_lora(folder / "dit_lora", shapes, lora_alpha=alpha)
    language = {f"model.language_model.layers.0.self_attn.{n}": (width, width) for n in ("q_proj", "o_proj")}
    save_lora(folder / "vlm_lora", language, lora_alpha=2 * RANK)
    (folder / "prompt.txt").write_text(PROMPT)
    return folder


def sparse(file: Path, shapes: dict[str, tuple[int, ...]], dtype: str = "BF16", size: int = 2) -> Path:
    """Write a safetensors file of zeros, of any size, that takes no room on the disk."""
    header, at = {}, 0
    for name, shape in shapes.items():
        count = size * int(torch.Size(shape).numel())
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + count]}
        at += count
    encoded = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(encoded).to_bytes(8, "little") + encoded)
        stream.truncate(8 + len(encoded) + at)
    return file


MARKS = tuple(
    f"<{slash}{group}>"
    for group in ("Ratio", "Composition", "Camera", "Position", "Pose", "Focus", "Color")
    for slash in ("", "/")
)
QWEN3 = {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
KOHYA_ALPHA = 5.0


def aesformer(folder: Path) -> Path:
    """AesFormer's planner, the editor's pipeline, and a LoRA of kohya's scripts for it."""
    torch.manual_seed(11)
    planner = save_critic(folder / "planner", qwen.qwen3, MARKS, **QWEN3)
    with torch.no_grad():  # its greedy words are to be marks, too
        planner.lm_head.weight[len(qwen.tokenizer()) :] *= 3
    planner.save_pretrained(folder / "planner")
    editor = folder / "Qwen-Image-Edit-2511"
    text = save_critic(editor / "text_encoder", qwen.qwen25)
    qwen.tokenizer().save_pretrained(editor / "tokenizer")
    Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112).save_pretrained(editor / "processor")
    dit = transformer(text.config.text_config.hidden_size, zero_cond_t=True)
    dit.save_pretrained(editor / "transformer")
    autoencoder().save_pretrained(editor / "vae")
    FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    ).save_pretrained(editor / "scheduler")
    index = {
        "_class_name": "QwenImageEditPlusPipeline", "_diffusers_version": "0.39.0",
        "processor": ["transformers", "Qwen2VLProcessor"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "transformer": ["diffusers", "QwenImageTransformer2DModel"], "vae": ["diffusers", "AutoencoderKLQwenImage"],
    }  # fmt: skip
    (editor / "model_index.json").write_text(json.dumps(index))
    (folder / "lora").mkdir()
    tensors = {}
    for name in ("to_q", "to_out_0"):
        key = f"lora_unet_transformer_blocks_0_attn_{name}"
        tensors[f"{key}.lora_down.weight"] = torch.randn(RANK, 128) / 12
        tensors[f"{key}.lora_up.weight"] = torch.randn(128, RANK) / 4
        tensors[f"{key}.alpha"] = torch.tensor(KOHYA_ALPHA)
    save_file(tensors, folder / "lora/aesformer.safetensors")
    (folder / "prompt.txt").write_text(PROMPT)
    return folder


_DOWN = ("DownBlock2D", "CrossAttnDownBlock2D")


def _unet_blocks() -> dict[str, Any]:
    return {"sample_size": 8, "out_channels": 4, "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4}


def _stable_diffusion(tokens: Path, latents: int) -> tuple[Any, Any, Any, Any]:
    """Stable Diffusion's text encoder, words (their files are written), U-Net of so many channels, and autoencoder."""
    letters = [chr(c) for c in range(97, 123)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    tokens.mkdir(parents=True)
    (tokens / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (tokens / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(tokens / "vocab.json"), str(tokens / "merges.txt"), model_max_length=16)
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, vocab_size=len(words),
            max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    unet = UNet2DConditionModel(
        **_unet_blocks(), in_channels=latents, block_out_channels=(8, 16), cross_attention_dim=16,
        down_block_types=_DOWN, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    return text, tokenizer, unet, vae


def instruct_pix2pix(folder: Path) -> Path:
    """A pipeline that takes any instruction: Stable Diffusion's networks, the photo's latents beside the noise."""
    torch.manual_seed(5)
    text, tokenizer, unet, vae = _stable_diffusion(folder / "tokenizer", 8)
    StableDiffusionInstructPix2PixPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def pertouch(folder: Path) -> Path:
    """PerTouch's ControlNet and last convolution (converted) beside the folder of its base model."""
    torch.manual_seed(8)
    base, ckpt = folder / "stable-diffusion-2-1", folder / "model/ckpt"
    text, tokenizer, unet, vae = _stable_diffusion(base / "tokenizer", 4)
    for name, made in (("text_encoder", text), ("tokenizer", tokenizer), ("unet", unet), ("vae", vae)):
        made.save_pretrained(base / name)
    DDIMScheduler().save_pretrained(base / "scheduler")
    widths = (4, 4, 4, 8)
    # Its configuration says 8 channels of maps; its code, which loads it, 4.
    control = ControlNetModel(
        in_channels=4, conditioning_channels=8, down_block_types=_DOWN, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, attention_head_dim=4, cross_attention_dim=16, conditioning_embedding_out_channels=widths,
    )  # fmt: skip
    control.save_pretrained(ckpt / "controlnet")
    weights = control.state_dict() | {
        "controlnet_cond_embedding.conv_in.weight": torch.empty(widths[0], 4, 3, 3),
        "controlnet_cond_embedding.conv_img.weight": torch.empty(widths[-1], 4, 3, 3),
        "controlnet_cond_embedding.conv_img.bias": torch.empty(widths[-1]),
        "controlnet_cond_embedding.conv_out.weight": torch.empty(8, 2 * widths[-1], 3, 3),
    }
    # Its last convolutions begin at nothing, which would hide what comes before them.
    drawn = {name: torch.randn(value.shape) / max(1, value[0].numel()) ** 0.5 for name, value in weights.items()}
    save_file(drawn, ckpt / "controlnet/diffusion_pytorch_model.safetensors", {"format": "pt"})
    last = {"weight": torch.randn(4, 8, 3, 3) / 8, "bias": torch.randn(4) / 8}
    save_file(last, ckpt / "unet_conv_out.safetensors", {"format": "pt"})
    return folder


def dreamlite(folder: Path) -> Path:
    """DreamLite's mobile pipeline."""
    torch.manual_seed(6)
    text = save_critic(folder / "text_encoder", qwen.qwen3, **QWEN3)
    qwen.tokenizer().save_pretrained(folder / "tokenizer")
    Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112, **QWEN3).save_pretrained(folder / "processor")
    DreamLiteUNetModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(32, 64), attention_head_dim=8,
        cross_attention_dim=text.config.text_config.hidden_size, layers_per_block=1, norm_num_groups=8,
        down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
        up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
    ).save_pretrained(folder / "unet")  # fmt: skip
    blocks = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    AutoencoderTiny(**blocks).save_pretrained(folder / "vae")
    FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "DreamLiteMobilePipeline", "_diffusers_version": "0.39.0",
        "processor": ["transformers", "Qwen3VLProcessor"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3VLForConditionalGeneration"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"], "unet": ["diffusers", "DreamLiteUNetModel"],
        "vae": ["diffusers", "AutoencoderTiny"],
    }  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
