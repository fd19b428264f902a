"""A tiny random pair of the real classes, saved as their libraries leave it."""

import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import AutoencoderTiny, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Idefics3ImageProcessor,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

SIDE = 64
"""Pixels of the artist's picture."""
SPECIAL = ("<pad>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>", "<image>")
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:{% for line in message['content'] %}"
    "{% if line['type'] == 'text' %}{{ line['text'] }}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def copied(folder: Path, to: Path) -> Path:
    """Copy a pair's folder, to change it."""
    return Path(shutil.copytree(folder, to))


def tokenizer() -> Any:
    """Byte-level words, one for each byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: number for number, word in enumerate([*SPECIAL, *alphabet])}
    made = Tokenizer(models.BPE(vocab=words, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        **{f"{kind}_token": word for kind, word in (("bos", SPECIAL[1]), ("eos", SPECIAL[2]), ("pad", SPECIAL[0]))},
        additional_special_tokens=list(SPECIAL[3:]),
        chat_template=TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
    )


def critic(words: int, head_width: int | None = None) -> Any:
    config = SmolVLMConfig(
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 8,
        },
        text_config={
            "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": head_width, "vocab_size": words,
            "pad_token_id": 0, "initializer_range": 0.3,
        },
        scale_factor=2,
        image_token_id=SPECIAL.index("<image>"),
        pad_token_id=0,
    )  # fmt: skip
    model = SmolVLMForConditionalGeneration(config)
    # Vectors of 8 bits: a bundle keeps them exactly, and what its critic says can be held against the libraries'.
    with torch.no_grad():
        table = model.model.text_model.embed_tokens.weight
        steps = (table.abs().amax(1, keepdim=True) / 127).clamp(min=1e-9)
        table.copy_((table / steps).round() * steps)
    model.generation_config.eos_token_id = SPECIAL.index("<end_of_utterance>")
    return model.eval()


def unet(channels: int, width: int, **more: Any) -> Any:
    return UNet2DConditionModel(
        sample_size=SIDE // 8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=4,
        **more,
    ).eval()


def tiny_autoencoder(**blocks: Any) -> Any:
    made = AutoencoderTiny(**blocks)
    # Random decoders make pictures that are all but black.
    with torch.no_grad():
        made.decoder.layers[-1].weight.mul_(8)
        made.decoder.layers[-1].bias.fill_(0.5)
    return made


def save_artist(
    folder: Path, network: Any, vae: Any, scheduler: Any, pipeline: str = "DreamPipeline", **beside: Any
) -> Path:
    """Write an artist as a pipeline is saved: its network, autoencoder, scheduler, and further networks by name."""
    kind = "unet" if "UNet" in type(network).__name__ else "transformer"
    for name, part in {kind: network, "vae": vae, "scheduler": scheduler, **beside}.items():
        part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(f'{{"_class_name": "{pipeline}"}}')
    return folder


def save_pair(
    folder: Path,
    *,
    weights_seed: int = 0,
    channels: int = 8,
    scheduler: Any = None,
    vae: Any = None,
    head_width: int | None = None,
    **config: Any,
) -> Path:
    """Write a whole pair, its artist's conditions narrower than the critic's hidden states.

    Its language model's heads are 8 wide where ``head_width`` says no more.
    """
    torch.manual_seed(weights_seed)
    words = tokenizer()
    words.save_pretrained(folder / "critic")
    critic(len(words), head_width).save_pretrained(folder / "critic")
    Idefics3ImageProcessor(
        size={"longest_edge": 128}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    ).save_pretrained(folder / "critic")
    blocks = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    save_artist(
        folder / "artist",
        unet(channels, 16),
        vae or tiny_autoencoder(**blocks),
        scheduler or FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    projection = {"projection.weight": torch.randn(16, 32) / 6, "projection.bias": torch.randn(16) / 10}
    save_file(projection, folder / "bridge.safetensors")
    (folder / "pair.yaml").write_text(
        yaml.safe_dump({"longest_answer": 12, "steps": 4, "prompt": "Judge it.", **config})
    )
    return folder
