"""Published teachers at their real sizes, made of configurations alone: what they take is told without a download."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import Field

from pocketcrafter.export.families.networks.checkpoint import Checkpoint, StoredTensor
from pocketcrafter.export.teachers.cost import Cost, conditions
from pocketcrafter.export.teachers.layout import RENAMED, Found, Layout
from pocketcrafter.export.teachers.systems import SYSTEMS, Part, SystemName
from pocketcrafter.export.teachers.tensors import Shapes
from pocketcrafter.runtime.config import Config

_QWEN25_7B: Final[Mapping[str, Any]] = {
    "vision_config": {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584,
    },
    "text_config": {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064,
    },
}  # fmt: skip
_QWEN3_8B: Final[Mapping[str, Any]] = {
    "vision_config": {
        "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096,
        "deepstack_visual_indexes": [8, 16, 24],
    },
    "text_config": {
        "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
        "rope_scaling": {"mrope_section": [24, 20, 20], "rope_type": "default"},
    },
}  # fmt: skip
_Configs = Mapping[str, Mapping[str, Any]]
PUBLISHED: Final[Mapping[SystemName, _Configs]] = {
    SystemName.SMART_PHOTO_CRAFTER: {"vlm": _QWEN25_7B, "dit": {}, "vae": {}},
    SystemName.AESFORMER: {
        "planner": _QWEN3_8B, "text_encoder": _QWEN25_7B, "transformer": {"zero_cond_t": True}, "vae": {},
    },
}  # fmt: skip
"""What each network's configuration says beside its class's defaults."""

_TEXT_BYTES: Final = 4.0
"""Of a word of an answer, with its number."""
_PICTURE_BYTES: Final = 1.0
"""Of a pixel in WebP without loss: 0.93 on average of the six photos of `tests/photos` at a megapixel."""
_PICTURES: Final = 2
"""The photo as the teacher saw it, and its picture."""
_FLOAT16: Final = 2.0
_INT8: Final = 1.0 + 2.0 / 64


class Labelling(Config):
    """What labels of many photos take, on paper."""

    photos: int
    gpus: int
    positions: int = Field(description="Hidden states of a photo, at most: prompt, picture and answer.")
    hidden_bytes: float = Field(description="Of a photo, in half precision.")
    hidden_int8_bytes: float = Field(description="Of a photo, in 8 bits.")
    picture_bytes: float = Field(description="Of a photo: as it was shown, and the teacher's picture.")
    text_bytes: float
    total_bytes: float = Field(description="Of all photos, with hidden states in half precision.")
    total_int8_bytes: float = Field(description="Of all photos, with hidden states in 8 bits.")
    gpu_hours: Mapping[str, float] = Field(description="By machine with enough memory.")
    hours: Mapping[str, float] = Field(description="With so many of these GPUs, if all are busy all the time.")
    cost: Mapping[str, float] = Field(description="GPU hours times their price, where prices are given.")
    write_bytes_per_second: Mapping[str, float] = Field(description="Of all workers together, in half precision.")
    start_bytes: float = Field(description="Weights that all workers read before their first photo.")


def published_layout(name: SystemName) -> Layout:
    """Return the layout of a published teacher, with the shapes of its networks and no values.

    Parameters
    ----------
    name
        One of `PUBLISHED`.
    """
    system, folder = SYSTEMS[name], Path(name.value)
    networks = []
    for place in system.places:
        kind, path = place.classes[0], folder / place.paths[0]
        config, shapes = _made(kind, PUBLISHED[name][place.name])
        tensors = {key: StoredTensor(key, "BF16", shape, path, 0, 0) for key, shape in shapes.items()}
        networks.append(Found(place, path, kind, config, Checkpoint(tensors, (path,), None)))
    return Layout(folder, name, system, tuple(networks))


def labelling(layout: Layout, cost: Cost, photos: int, gpus: int, prices: Mapping[str, float]) -> Labelling:
    """Return what labels of many photos take.

    Parameters
    ----------
    layout, cost
        Of the teacher, and what a photo takes.
    photos, gpus
        How many.
    prices
        Of an hour, by machine.
    """
    sampling = layout.system.sampling
    critic = next((found for found in layout.networks if found.place.part is Part.CRITIC), None)
    text = {} if critic is None else critic.config.get("text_config") or critic.config
    positions = 0 if critic is None else conditions(critic, sampling)
    values = positions * int(text.get("hidden_size") or 0)
    pictures = _PICTURES * float(sampling.side) ** 2 * _PICTURE_BYTES
    words = sampling.answer * _TEXT_BYTES
    total = photos * (_FLOAT16 * values + pictures + words)
    hours = {name: photos * seconds / 3600 / gpus for name, seconds in cost.seconds.items()}
    return Labelling(
        photos=photos,
        gpus=gpus,
        positions=positions,
        hidden_bytes=_FLOAT16 * values,
        hidden_int8_bytes=_INT8 * values,
        picture_bytes=pictures,
        text_bytes=words,
        total_bytes=total,
        total_int8_bytes=photos * (_INT8 * values + pictures + words),
        gpu_hours={name: value * gpus for name, value in hours.items()},
        hours=hours,
        cost={name: value * gpus * prices[name] for name, value in hours.items() if name in prices},
        write_bytes_per_second={name: total / (value * 3600) for name, value in hours.items()},
        start_bytes=gpus * cost.weights_gib * (1 << 30),
    )


def _made(kind: str, said: Mapping[str, Any]) -> tuple[Mapping[str, Any], Shapes]:
    transformers, diffusers = (importlib.import_module(name) for name in ("transformers", "diffusers"))
    with torch.device("meta"):
        if (model := getattr(diffusers, kind, None)) is not None:
            made = model(**said)
            return dict(made.config), _shapes(made.state_dict())
        configs: Mapping[str, Callable[..., Any]] = {
            "Qwen2_5_VLForConditionalGeneration": transformers.Qwen2_5_VLConfig,
            "Qwen3VLForConditionalGeneration": transformers.Qwen3VLConfig,
        }
        config = configs[kind](**said)
        made = getattr(transformers, kind)(config)
    # As checkpoints have them.
    renamed = {}
    for name, shape in _shapes(made.state_dict()).items():
        old = next((before + name.removeprefix(now) for now, before in RENAMED if name.startswith(now)), name)
        renamed[old if kind.startswith("Qwen2_5") else name] = shape
    return config.to_dict(), renamed


def _shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
