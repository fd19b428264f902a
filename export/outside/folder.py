"""Reads a folder in Hugging Face's layout and takes the network apart into what can be lowered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import nn

from pocketcrafter.export.outside import captioner, diffusion, qwen, vision_language
from pocketcrafter.export.outside.audit import check_loaded
from pocketcrafter.export.outside.checkpoint import OutsideError, read_checkpoint, refuse_adapters
from pocketcrafter.export.outside.part import GraphPart, Part
from pocketcrafter.runtime.config import parse_json

_CONFIG: Final = "config.json"
_PIPELINE: Final = "model_index.json"
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class _Family:
    stem: str
    """What the library calls its files of weights."""
    load: Callable[[Path, str | None], nn.Module]
    """Takes the folder, and the variant of the weights."""
    parts: Callable[[nn.Module, Mapping[str, Any]], Sequence[Part | GraphPart]]
    unread: tuple[str, ...] = ()
    """Beginnings of names of weights that the parts never read: the only ones that may be missing."""


_UNET: Final = _Family("diffusion_pytorch_model", diffusion.load, diffusion.unet_parts)
_AUTOENCODER: Final = _Family("diffusion_pytorch_model", diffusion.load, diffusion.autoencoder_parts)
_VISION_LANGUAGE: Final = _Family("model", vision_language.load, vision_language.parts)

_FAMILIES: Final[Mapping[str, _Family]] = {
    "UNet2DConditionModel": _UNET,
    "AutoencoderTiny": _AUTOENCODER,
    "AutoencoderKL": _AUTOENCODER,
    "Idefics3ForConditionalGeneration": _VISION_LANGUAGE,
    "SmolVLMForConditionalGeneration": _VISION_LANGUAGE,
    "VisionEncoderDecoderModel": _Family("model", captioner.load, captioner.parts, captioner.UNREAD),
    "Qwen2_5_VLForConditionalGeneration": _Family("model", vision_language.load, qwen.parts),
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
        If there is no such configuration, its class is none of those known, there are only pickled weights, files are
        damaged or missing, or what was loaded is not what the files hold, value by value.
    """
    _refuse_pipeline(folder)
    refuse_adapters(folder)
    config = _read_json(folder / _CONFIG, "give a folder in Hugging Face's layout")
    name = _class_of(config)
    if name not in _FAMILIES:
        raise OutsideError(f"{folder / _CONFIG}: {name or 'no class'} is not known; known are {', '.join(_FAMILIES)}.")
    family = _FAMILIES[name]
    stored = read_checkpoint(folder, family.stem)
    try:
        model = family.load(folder, stored.variant).eval().requires_grad_(False)
        check_loaded(model, stored, family.unread)
        return tuple(family.parts(model, config))
    except OutsideError:
        raise
    except Exception as error:  # both libraries raise whatever they meet
        raise OutsideError(f"{folder}: {name} cannot be loaded: {type(error).__name__}: {error}") from error


def _refuse_pipeline(folder: Path) -> None:
    """Raise `OutsideError` for a diffusers pipeline, whose networks lie in folders of their own."""
    if not (folder / _PIPELINE).is_file():
        return
    index = _read_json(folder / _PIPELINE, "download it again")
    classes = {name: said[1] for name, said in index.items() if isinstance(said, list) and len(said) == 2}
    known = [f"pocketcrafter build {folder / name} ({kind})" for name, kind in classes.items() if kind in _FAMILIES]
    what = f"build one of its networks: {'; '.join(known)}" if known else f"it has none of {', '.join(_FAMILIES)}"
    raise OutsideError(f"{folder}: a whole pipeline ({index.get('_class_name')}) of {', '.join(classes)}; {what}.")


def _read_json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise OutsideError(f"{path}: larger than any configuration ({_MAX_BYTES} bytes).")
        found = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise OutsideError(f"{path.parent}: no readable {path.name} ({error}); {remedy}.") from error
    if not isinstance(found, dict):
        raise OutsideError(f"{path}: no object of JSON; {remedy}.")
    return found


def _class_of(config: Mapping[str, Any]) -> str:
    # transformers 4.57 hands what is asked of Qwen2.5-VL's configuration on to the language model's, this too.
    places = (config, config.get("text_config"))
    named = [place.get("architectures") for place in places if isinstance(place, dict)]
    first = next((names[0] for names in named if isinstance(names, list) and names), "")
    return str(config.get("_class_name") or first)
