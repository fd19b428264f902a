"""Tiny random teachers in the layouts of their releases."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from safetensors.torch import save_file
from transformers import Qwen2VLImageProcessor

sys.path.insert(0, str(Path(__file__).parents[1] / "families/latent"))
import qwen_twin as qwen

PROMPT = "Judge it in five steps."
RANK = 2


def transformer(joint: int) -> Any:
    """Qwen-Image's transformer, 128 wide."""
    made = QwenImageTransformer2DModel(num_layers=2, num_attention_heads=1, joint_attention_dim=joint)
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
