"""Memory and seconds a photo to expect of a teacher, computed from its configurations and headers: nothing is run.

Multiply-accumulates are counted from the shapes of weights and the sizes of pictures and prompts; machines are assumed
to reach `_COMPUTE` of their peak, and to read weights at `_READ` of their memory's rate while words are generated.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from pydantic import Field

from pocketcrafter.export.teachers.layout import Found, Layout
from pocketcrafter.export.teachers.systems import Part, Sampling
from pocketcrafter.export.teachers.tensors import QWEN_IMAGE, Shapes, layers
from pocketcrafter.runtime.config import Config

_COMPUTE: Final = 0.4
_READ: Final = 0.6
_PROMPT_WORDS: Final = 256
"""Words of a prompt beside the picture's."""
_MAPS: Final = 4
"""Feature maps of the picture's full size that a decoder holds at once."""
_TOKEN_MAPS: Final = 12
"""Vectors of the transformer's width that a token holds at once: queries, keys, values, four of the feed-forward."""
_CONTEXT_BYTES: Final = 1 << 29
"""CUDA's context and the libraries' workspaces."""
_LEVELS: Final = re.compile(r"(down_blocks|up_blocks|mid_block)(?:\.(\d+))?")


@dataclass(frozen=True)
class Gpu:
    """A machine that teachers run on, as its data sheet has it."""

    gib: int
    """Of memory."""
    tflops: float
    """Dense, with numbers of 16 bits."""
    gb_per_second: float
    """Of its memory."""


GPUS: Final[Mapping[str, Gpu]] = {
    "L4": Gpu(24, 121, 300),
    "A100 80 GB": Gpu(80, 312, 2039),
    "H100 SXM": Gpu(80, 989, 3350),
    "H200": Gpu(141, 989, 4800),
}


class Cost(Config):
    """What a photo takes."""

    weights_gib: float = Field(description="All networks at once, in the release's precision.")
    vram_gib: float = Field(description="Weights, caches, the largest activations, and the device's context.")
    tera_macs: float = Field(description="Multiply-accumulates a photo, in 10¹².")
    read_gb: float = Field(description="Weights that are read to generate the longest answer, word by word.")
    seconds: Mapping[str, float] = Field(description="Seconds a photo, by machine with enough memory.")
    too_small: tuple[str, ...] = Field((), description="Machines without that memory.")
    how: str = Field(description="The assumptions.")


def cost_of(layout: Layout) -> Cost:
    """Return what a photo takes.

    Parameters
    ----------
    layout
        Of the teacher's folder; what is missing in it is not counted.
    """
    sampling = layout.system.sampling
    weights = sum(prod(t.shape) for f in layout.networks for t in f.stored.tensors.values()) * sampling.value_bytes
    macs, read, held = 0.0, 0.0, 0.0
    for found in layout.networks:
        if found.place.part is Part.CRITIC or "text_config" in found.config:
            more, words, cache = _language(found, sampling)
            macs, read, held = macs + more, read + words, held + cache
        elif found.place.part in {Part.ARTIST, Part.CONTROL}:
            macs += _artist(found, layout, sampling)
    held += max((_activations(found, layout, sampling) for found in layout.networks), default=0.0)
    needed = weights + held + _CONTEXT_BYTES
    seconds = {
        name: 2 * macs / (gpu.tflops * 1e12 * _COMPUTE) + read / (gpu.gb_per_second * 1e9 * _READ)
        for name, gpu in GPUS.items()
        if needed <= gpu.gib << 30
    }
    return Cost(
        weights_gib=weights / (1 << 30),
        vram_gib=needed / (1 << 30),
        tera_macs=macs / 1e12,
        read_gb=read / 1e9,
        seconds=seconds,
        too_small=tuple(name for name in GPUS if name not in seconds),
        how=f"{sampling.steps} steps of {sampling.passes} runs at {sampling.side}×{sampling.side} px, answers of "
        f"{sampling.answer} words, {8 * sampling.value_bytes} bits a number; machines at {_COMPUTE:.0%} of their peak, "
        f"weights read at {_READ:.0%} of the memory's rate. The autoencoder's time is not counted.",
    )


def _language(found: Found, sampling: Sampling) -> tuple[float, float, float]:
    """Return a vision-language model's multiply-accumulates, bytes read word by word, and bytes of its caches."""
    said = {**found.config, **(found.config.get("text_config") or {})}
    generated = sampling.answer if found.place.part is Part.CRITIC else 0
    positions = _PROMPT_WORDS + _picture_words(found.config, sampling.side)
    is_vision = re.compile(r"(^|\.)(visual|vision_model|vision_tower)\.").search
    vision = _parameters(found.shapes, lambda name: bool(is_vision(name)))
    language = _parameters(found.shapes, lambda name: not is_vision(name) and "embed_tokens" not in name)
    # Its encoder sees four patches for each word.
    macs = 4.0 * vision * _picture_words(found.config, sampling.side) + float(language) * (positions + generated)
    heads = int(said.get("num_key_value_heads") or said.get("num_attention_heads") or 0)
    width = int(said.get("hidden_size") or 0)
    head = int(said.get("head_dim") or width // max(1, int(said.get("num_attention_heads") or 1)))
    count = int(said.get("num_hidden_layers") or layers(found.shapes, "layers"))
    cache = 2.0 * count * heads * head * (positions + generated) * sampling.value_bytes
    return macs, float(language) * sampling.value_bytes * generated, cache


def _picture_words(config: Mapping[str, Any], side: int) -> int:
    vision = config.get("vision_config") or {}
    patch, merged = int(vision.get("patch_size") or 14), int(vision.get("spatial_merge_size") or 2)
    return (side // (patch * merged)) ** 2


def _artist(found: Found, layout: Layout, sampling: Sampling) -> float:
    """Return the multiply-accumulates of all steps."""
    if found.kind == QWEN_IMAGE:
        return _transformer(found, sampling, _conditions(layout, sampling))
    if found.kind.endswith("Transformer2DModel"):
        return float(_parameters(found.shapes)) * (sampling.side // 16) ** 2 * sampling.steps * sampling.passes
    return _by_level(found.shapes, sampling.side // 8) * sampling.steps * sampling.passes


def _conditions(layout: Layout, sampling: Sampling) -> int:
    """Return how many positions the artist's conditions have: all that a critic reads and says, or a prompt."""
    critic = next((found for found in layout.networks if found.place.part is Part.CRITIC), None)
    if critic is None or layout.system.sampling.passes > 1:
        return _PROMPT_WORDS
    return conditions(critic, sampling)


def conditions(critic: Found, sampling: Sampling) -> int:
    """Return how many positions a critic reads and writes at most.

    Parameters
    ----------
    critic
        A vision-language model.
    sampling
        Size of the picture, and length of the answer.
    """
    return _PROMPT_WORDS + _picture_words(critic.config, sampling.side) + sampling.answer


def _transformer(found: Found, sampling: Sampling, words: int) -> float:
    """Return the multiply-accumulates of a transformer whose tokens are latents, the photo's latents and words."""
    tokens = 2 * (sampling.side // 16) ** 2
    text = ("txt_", "add_", ".to_add_out")
    on_words = _parameters(found.shapes, lambda name: any(part in name for part in text))
    on_tokens = _parameters(found.shapes) - on_words
    config = found.config
    inner = int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    attention = 2.0 * (tokens + words) ** 2 * inner * int(config["num_layers"])
    return (float(on_tokens) * tokens + float(on_words) * words + attention) * sampling.steps * sampling.passes


def _by_level(shapes: Shapes, side: int) -> float:
    """Return the multiply-accumulates of one run of a U-Net: each weight once for each place at its level.

    The product of queries and keys is left out.
    """
    blocks = max((int(m[2]) for name in shapes if (m := _LEVELS.match(name)) and m[1] == "down_blocks"), default=0) + 1
    total = 0.0
    for name, shape in shapes.items():
        found = _LEVELS.match(name)
        level = 0
        if found and found[1] == "mid_block":
            level = blocks - 1
        elif found and found[2] is not None:
            number = int(found[2])
            level = number if found[1] == "down_blocks" else blocks - 1 - number
        if len(shape) > 1:
            total += prod(shape) * float(max(1, side >> level)) ** 2
    return total


def _activations(found: Found, layout: Layout, sampling: Sampling) -> float:
    """Return the bytes of what a network holds of a photo at once, beside caches."""
    if found.kind == QWEN_IMAGE:
        width = int(found.config["num_attention_heads"]) * int(found.config["attention_head_dim"])
        tokens = 2 * (sampling.side // 16) ** 2 + _conditions(layout, sampling)
        return float(tokens) * width * _TOKEN_MAPS * sampling.value_bytes
    if found.place.part is Part.AUTOENCODER and (last := found.shapes.get("decoder.conv_out.weight")) is not None:
        return float(sampling.side) ** 2 * last[1] * _MAPS * sampling.value_bytes
    return 0.0


def _parameters(shapes: Shapes, chosen: Callable[[str], bool] = lambda _: True) -> int:
    return sum(prod(shape) for name, shape in shapes.items() if chosen(name))
