"""The latent studio: a small pair of SmolVLM, U-Net and AutoencoderTiny, in the layout that the family `latent` builds.

All of it is float16 on disk. Building, not training, checks what is read back.
"""

import importlib
import json
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from safetensors.torch import load_file, save
from tokenizers import Tokenizer
from torch import Tensor, nn

from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes, write_text

CRITIC: Final = "critic"
UNET: Final = "artist/unet"
AUTOENCODER: Final = "artist/vae"
BRIDGE: Final = "bridge.safetensors"

SIDE_PX: Final = 128
"""Of the artist's square picture."""
LATENT_CHANNELS: Final = 4
_DOWN: Final = 4
"""Pixels of the artist's picture along a latent."""
LATENT_SIDE: Final = SIDE_PX // _DOWN
VIEW_PX: Final = 64
"""Of the critic's square picture."""
_PATCH_PX: Final = 16
_MERGED: Final = 2
"""Patches along a token's side."""
PICTURE_TOKENS: Final = (VIEW_PX // _PATCH_PX // _MERGED) ** 2
WIDTH: Final = 256
"""Of the critic's hidden states."""
CONDITION_WIDTH: Final = 128
"""Of what the artist reads of them."""
LONGEST_ANSWER: Final = 40
STEPS: Final = 4
SHIFT: Final = 1.0
"""Of the flow's noise levels."""
PROMPT: Final = "Judge this photo."

PAD, BEGIN, END, _AROUND, _WHOLE, IMAGE = SPECIAL = (
    "<pad>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>", "<image>",
)  # fmt: skip
_TEMPLATE: Final = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:{% for line in message['content'] %}"
    "{% if line['type'] == 'text' %}{{ line['text'] }}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_VAE_WIDTH: Final = 40
_COLORS: Final = [0, 1, 2]
_SPREAD: Final = 1.5
"""Latents of black and white, ±; the decoder squashes them to ±3."""
_KEPT: Final = 4.0
_SMALL: Final = 0.1


def new_autoencoder() -> Any:  # noqa: ANN401 - diffusers is untyped
    """Return an untrained `AutoencoderTiny`: pixels to latents of a quarter of their side."""
    model = _class("diffusers", "AutoencoderTiny")(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(_VAE_WIDTH,) * 3,
        decoder_block_out_channels=(_VAE_WIDTH,) * 3,
        # Blocks at full size cost sixteen times those at the latents' size and are worth no more.
        num_encoder_blocks=(0, 1, 5),
        num_decoder_blocks=(5, 1, 0),
    )
    _start_as_averages(model)
    return model


@torch.no_grad()
def _start_as_averages(model: Any) -> None:  # noqa: ANN401 - diffusers is untyped
    """Let the first three channels carry the colors, averaged on the way down and smoothed on the way up.

    All that is left to learn is detail, and an edit of tones is nearly the same map of latents everywhere.
    """
    for module in model.modules():
        if type(module).__name__ == "AutoencoderTinyBlock":
            _pass(module.conv[-1], 0.0)
    first, *between, last = (m for m in model.encoder.layers if isinstance(m, nn.Conv2d))
    _pass(first, 1.0)
    for convolution in between:
        _pass(convolution, 0.0)
        convolution.weight[_COLORS, _COLORS, 1:, 1:] = 0.25
    _pass(last, 2 * _SPREAD, -_SPREAD)
    first, *between, last = (m for m in model.decoder.layers if isinstance(m, nn.Conv2d))
    _pass(first, 0.5 / _SPREAD, 0.5)
    tent = torch.tensor([0.25, 0.5, 0.25])
    for convolution in between:
        _pass(convolution, 0.0)
        convolution.weight[_COLORS, _COLORS] = tent[:, None] * tent
    _pass(last, 1.0)


def _pass(convolution: nn.Conv2d, gain: float, offset: float = 0.0) -> None:
    """Let the first three channels be those that come in, times a gain, plus an offset."""
    convolution.weight[:3] = 0
    convolution.weight[_COLORS, _COLORS, 1, 1] = gain
    if convolution.bias is not None:
        convolution.bias[:3] = offset


def new_critic(words: int) -> Any:  # noqa: ANN401 - transformers is untyped
    """Return an untrained `SmolVLMForConditionalGeneration` with so many words."""
    config = _class("transformers", "SmolVLMConfig")(
        vision_config={
            "hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 5, "num_attention_heads": 6,
            "image_size": VIEW_PX, "patch_size": _PATCH_PX,
        },
        text_config={
            "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": 704, "num_hidden_layers": 4,
            "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": words, "pad_token_id": 0,
            "max_position_embeddings": 256,
        },
        scale_factor=_MERGED,
        image_token_id=SPECIAL.index(IMAGE),
        pad_token_id=0,
        tie_word_embeddings=True,
    )  # fmt: skip
    model = _class("transformers", "SmolVLMForConditionalGeneration")(config)
    model.generation_config.eos_token_id = SPECIAL.index(END)
    model.generation_config.pad_token_id = 0
    return model


def new_unet() -> Any:  # noqa: ANN401 - diffusers is untyped
    """Return an untrained `UNet2DConditionModel`: noisy latents and the photo's in, the flow's velocity out."""
    model = _class("diffusers", "UNet2DConditionModel")(
        sample_size=LATENT_SIDE,
        in_channels=2 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64, 144),
        layers_per_block=1,
        # Attention at the latents' full size costs more than all the rest.
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=CONDITION_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    _start_at_photo(model)
    return model


@torch.no_grad()
def _start_at_photo(model: Any) -> None:  # noqa: ANN401 - diffusers is untyped
    """Let the untrained network lead to the photo itself: its velocity is the noisy latents less the photo's.

    Each such channel goes through the last normalization in a group of its own with its opposite and two constants, far
    larger, which keep the scale; silu(x) - silu(-x) is x.
    """
    model.conv_in.weight[:LATENT_CHANNELS] = 0
    model.conv_in.bias[:LATENT_CHANNELS] = 0
    last = model.up_blocks[-1].resnets[-1]
    for parameter in (last.conv2.weight, last.conv2.bias):
        parameter.zero_()
    before = last.conv_shortcut.in_channels - model.conv_in.out_channels
    size = model.conv_norm_out.num_channels // model.conv_norm_out.num_groups
    for channel in range(LATENT_CHANNELS):
        model.conv_in.weight[channel, [channel, channel + LATENT_CHANNELS], 1, 1] = torch.tensor([1.0, -1.0])
        group = slice(channel * size, channel * size + 4)
        last.conv_shortcut.weight[group] = 0
        last.conv_shortcut.weight[group, before + channel, 0, 0] = torch.tensor([1.0, -1.0, 0.0, 0.0])
        last.conv_shortcut.bias[group] = torch.tensor([0.0, 0.0, _KEPT, -_KEPT])
        model.conv_out.weight[channel] *= _SMALL
        model.conv_out.weight[channel, group] = 0
        model.conv_out.weight[channel, channel * size : channel * size + 2, 1, 1] = (
            torch.tensor([_KEPT, -_KEPT]) / 2**0.5
        )


def prompt_text() -> str:
    """Return the whole prompt as the tokenizer reads it: what the chat template and the processor make of `PROMPT`."""
    picture = f"{_AROUND}{_WHOLE}{IMAGE * PICTURE_TOKENS}{_AROUND}"
    return f"{BEGIN}User:{picture}{PROMPT}{END}\nAssistant:"


def save_critic(model: Any, tokenizer: Tokenizer, folder: Path) -> None:  # noqa: ANN401 - transformers is untyped
    """Write a critic as `save_pretrained` of model and processor does, in float16.

    Parameters
    ----------
    model
        A `SmolVLMForConditionalGeneration` on the CPU; its weights become float16.
    tokenizer
        The one that it was trained with.
    folder
        Made where it is not there.
    """
    named = {f"{kind}_token": word for kind, word in (("bos", BEGIN), ("eos", END), ("pad", PAD))}
    _class("transformers", "PreTrainedTokenizerFast")(
        tokenizer_object=tokenizer,
        **named,
        additional_special_tokens=[_AROUND, _WHOLE, IMAGE],
        chat_template=_TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    _class("transformers", "Idefics3ImageProcessor")(
        size={"longest_edge": 4 * VIEW_PX}, max_image_size={"longest_edge": VIEW_PX}, do_image_splitting=False
    ).save_pretrained(folder)
    model.half().save_pretrained(folder)


def save_artist(unet: Any, bridge: nn.Linear, pair: Path) -> None:  # noqa: ANN401 - diffusers is untyped
    """Write U-Net, bridge, scheduler and ``pair.yaml`` into the folder of a pair, which has an autoencoder already.

    Parameters
    ----------
    unet
        A `UNet2DConditionModel` on the CPU; its weights become float16.
    bridge
        From `WIDTH` to `CONDITION_WIDTH` features; left as it is.
    pair
        The pair's folder.
    """
    unet.register_to_config(_name_or_path="")  # the folder that training began at
    unet.half().save_pretrained(pair / UNET)
    projection = {
        f"projection.{name}": value.detach().half().contiguous() for name, value in bridge.state_dict().items()
    }
    write_bytes(pair / BRIDGE, save(projection))
    _class("diffusers", "FlowMatchEulerDiscreteScheduler")(shift=SHIFT).save_pretrained(pair / "artist/scheduler")
    index = {
        "_class_name": "DreamPipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny"],
    }
    write_text(pair / "artist/model_index.json", json.dumps(index, indent=1) + "\n")
    said = {"prompt": PROMPT, "longest_answer": LONGEST_ANSWER, "steps": STEPS}
    write_text(pair / "pair.yaml", yaml.safe_dump(said, sort_keys=False))


def load_autoencoder(pair: Path) -> Any:  # noqa: ANN401 - diffusers is untyped
    """Load the autoencoder of a pair's folder, as all the following: float32, in evaluation mode, nothing trainable."""
    return _loaded(_class("diffusers", "AutoencoderTiny"), pair / AUTOENCODER)


def load_critic(pair: Path) -> tuple[Any, Tokenizer]:
    """Load the critic and its tokenizer."""
    model = _loaded(_class("transformers", "SmolVLMForConditionalGeneration"), pair / CRITIC)
    return model, Tokenizer.from_file(str(pair / CRITIC / "tokenizer.json"))


def load_artist(pair: Path) -> tuple[Any, nn.Linear]:
    """Load the U-Net and the bridge."""
    bridge = nn.Linear(WIDTH, CONDITION_WIDTH)
    unet = _loaded(_class("diffusers", "UNet2DConditionModel"), pair / UNET)
    stored: dict[str, Tensor] = load_file(pair / BRIDGE)
    bridge.load_state_dict({name.removeprefix("projection."): value.float() for name, value in stored.items()})
    return unet, bridge.requires_grad_(requires_grad=False)


def _loaded(kind: Any, folder: Path) -> Any:  # noqa: ANN401 - both libraries are untyped
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{folder}: has no trained network; the parts are trained in this order: pocketcrafter train latent-vae, "
            "latent-critic, latent-artist."
        )
    model = kind.from_pretrained(folder, local_files_only=True, low_cpu_mem_usage=False)
    return model.float().eval().requires_grad_(False)


def _class(library: str, name: str) -> Any:  # noqa: ANN401 - both libraries are untyped
    """Import a class when it is needed: either library takes seconds."""
    return getattr(importlib.import_module(library), name)
