"""Tiny random vision-language models of Qwen's classes, and their words."""

from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
           "<|video_pad|>")  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for line in message['content'] %}"
    "{% if line['type'] == 'text' %}{{ line['text'] }}{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(added: tuple[str, ...] = ()) -> Any:
    """Byte-level words, one for each byte, and further special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={word: n for n, word in enumerate([*SPECIAL, *alphabet, *added])}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=SPECIAL[2], pad_token=SPECIAL[0], chat_template=TEMPLATE,
        additional_special_tokens=[*SPECIAL[1:], *added], model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


_WORDS = {
    "image_token_id": SPECIAL.index("<|image_pad|>"), "video_token_id": SPECIAL.index("<|video_pad|>"),
    "vision_start_token_id": 3, "vision_end_token_id": 4,
}  # fmt: skip


def _text(words: int, sections: list[int]) -> dict[str, Any]:
    return {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": words, "rope_theta": 1e4, "initializer_range": 0.3, "head_dim": 16,
        "rope_scaling": {"mrope_section": sections, "rope_type": "default", "type": "default"},
    }  # fmt: skip


def qwen25(words: int) -> Any:
    vision = {
        "depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32,
        "fullatt_block_indexes": [1], "window_size": 56, "patch_size": 14, "initializer_range": 0.3,
    }  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=_text(words, [2, 3, 3]), vision_config=vision, **_WORDS)
    return Qwen2_5_VLForConditionalGeneration(config)


def qwen3(words: int) -> Any:
    vision = {
        "depth": 3, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 32,
        "patch_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1], "initializer_range": 0.3,
    }  # fmt: skip
    text = _text(words, [4, 2, 2])
    text["rope_scaling"]["mrope_interleaved"] = True
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **_WORDS))


ANSWER = 10
KINDS: dict[str, tuple[Any, int, dict[str, Any]]] = {
    "qwen2.5-vl": (qwen25, 112, {}),
    "qwen3-vl": (qwen3, 96, {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
}
"""Model, side of the picture, and the processor's options."""


def save_pair(folder: Path, name: str, weights_seed: int = 5) -> Path:
    """Write a critic of a class, without an artist."""
    torch.manual_seed(weights_seed)
    make, side, options = KINDS[name]
    words = tokenizer()
    words.save_pretrained(folder / "critic")
    model = make(len(words)).eval()
    # As in twin.py: a bundle keeps a table of 8 bits exactly.
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        steps = (table.abs().amax(1, keepdim=True) / 127).clamp(min=1e-9)
        table.copy_((table / steps).round() * steps)
    model.generation_config.eos_token_id = SPECIAL.index("<|im_end|>")
    model.save_pretrained(folder / "critic")
    Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=1 << 20, **options).save_pretrained(folder / "critic")
    said = {"prompt": "Judge it.", "longest_answer": ANSWER, "critic_side": side}
    (folder / "pair.yaml").write_text(yaml.safe_dump(said))
    return folder
