"""Reads a folder in Hugging Face's layout and takes the network apart into what can be lowered."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import nn

from pocketcrafter.export.outside import captioner, diffusion, qwen, vision_language
from pocketcrafter.export.outside.part import GraphPart, OutsideError, Part

_CONFIG: Final = "config.json"
_MAX_BYTES: Final = 1 << 20
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class _Family:
    load: Callable[[Path], nn.Module]
    parts: Callable[[nn.Module, Mapping[str, Any]], Sequence[Part | GraphPart]]


_FAMILIES: Final[Mapping[str, _Family]] = {
    "UNet2DConditionModel": _Family(diffusion.load, diffusion.unet_parts),
    "AutoencoderTiny": _Family(diffusion.load, diffusion.autoencoder_parts),
    "AutoencoderKL": _Family(diffusion.load, diffusion.autoencoder_parts),
    "Idefics3ForConditionalGeneration": _Family(vision_language.load, vision_language.parts),
    "SmolVLMForConditionalGeneration": _Family(vision_language.load, vision_language.parts),
    "VisionEncoderDecoderModel": _Family(captioner.load, captioner.parts),
    "Qwen2_5_VLForConditionalGeneration": _Family(vision_language.load, qwen.parts),
}
"""By the class that the folder's configuration names."""


def load_folder(folder: Path) -> tuple[Part | GraphPart, ...]:
    """Load a network from disk alone and return its parts.

    Parameters
    ----------
    folder
        Holds ``config.json`` and safetensors, as ``save_pretrained`` of diffusers and transformers leaves them. Nothing
        is fetched, and nothing that Python would execute is read.

    Raises
    ------
    OutsideError
        If there is no such configuration, its class is none of those known, there are only pickled weights, or the
        weights do not fit.
    """
    path = folder / _CONFIG
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise OutsideError(f"{path}: larger than any configuration ({_MAX_BYTES} bytes).")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OutsideError(
            f"{folder}: no readable {_CONFIG} ({error}); give a folder in Hugging Face's layout."
        ) from error
    name = _class_of(config)
    if name not in _FAMILIES:
        raise OutsideError(f"{path}: {name or 'no class'} is not known; known are {', '.join(_FAMILIES)}.")
    if not any(folder.glob("*.safetensors")):
        pickled = [p.name for p in sorted(folder.iterdir()) if p.suffix in _PICKLES]
        found = f"only {', '.join(pickled)}, which can run code when they are read" if pickled else "none"
        raise OutsideError(f"{folder}: needs weights as safetensors; there is {found}.")
    family = _FAMILIES[name]
    try:
        model = family.load(folder).eval().requires_grad_(False)
        return tuple(family.parts(model, config))
    except OutsideError:
        raise
    except Exception as error:  # both libraries raise whatever they meet
        raise OutsideError(f"{folder}: {name} cannot be loaded: {type(error).__name__}: {error}") from error


def _class_of(config: Any) -> str:  # noqa: ANN401 - parsed JSON
    if not isinstance(config, dict):
        return ""
    # transformers 4.57 hands what is asked of Qwen2.5-VL's configuration on to the language model's, this too.
    places = (config, config.get("text_config"))
    named = [place.get("architectures") for place in places if isinstance(place, dict)]
    first = next((names[0] for names in named if isinstance(names, list) and names), "")
    return str(config.get("_class_name") or first)
