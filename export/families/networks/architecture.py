"""Which networks a checkpoint folder holds, by its configuration alone: nothing of its weights is read, nor torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pocketcrafter.export.content import FolderFiles
from pocketcrafter.export.families.networks.checkpoint import (
    Checkpoint,
    CheckpointError,
    read_checkpoint,
    refuse_adapters,
)
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.config import parse_json
from pocketcrafter.runtime.language import PREFILL

CONFIG: Final = "config.json"
_PIPELINE: Final = "model_index.json"
_FURTHER: Final = ("generation_config.json",)
"""Files beside configuration and weights that a loader reads."""
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Architecture:
    """A class of networks that checkpoints name.

    Attributes
    ----------
    name
        As the checkpoint's configuration has it.
    stem
        What its library calls the files of its weights.
    components
        The components that it is taken apart into, each with its role.
    functions
        Further functions of its components, by component; most have none.
    """

    name: str
    stem: str
    components: Mapping[str, Role]
    functions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_DIFFUSERS: Final = "diffusion_pytorch_model"
_TRANSFORMERS: Final = "model"
_AUTOENCODER: Final = {"encode": Role.ENCODE, "decode": Role.DECODE}
_VISION_LANGUAGE: Final = {"vision": Role.VISION, "language": Role.LANGUAGE}
_PREFILLED: Final = {"language": (PREFILL,)}
_CAPTIONER: Final = {"vision": Role.VISION, "prompt": Role.LANGUAGE, "step": Role.LANGUAGE}

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    architecture.name: architecture
    for architecture in (
        Architecture("UNet2DConditionModel", _DIFFUSERS, {"denoise": Role.DENOISE}),
        Architecture("AutoencoderTiny", _DIFFUSERS, _AUTOENCODER),
        Architecture("AutoencoderKL", _DIFFUSERS, _AUTOENCODER),
        Architecture("Idefics3ForConditionalGeneration", _TRANSFORMERS, _VISION_LANGUAGE, _PREFILLED),
        Architecture("SmolVLMForConditionalGeneration", _TRANSFORMERS, _VISION_LANGUAGE, _PREFILLED),
        Architecture("Qwen2_5_VLForConditionalGeneration", _TRANSFORMERS, _VISION_LANGUAGE, _PREFILLED),
        Architecture("LlamaForCausalLM", _TRANSFORMERS, {"language": Role.LANGUAGE}, _PREFILLED),
        Architecture("VisionEncoderDecoderModel", _TRANSFORMERS, _CAPTIONER),
    )
}
"""By the class that a folder's configuration names; how each is loaded stands in `folder.LOADERS`."""

_HEAD_WIDTH: Final = "head_dim"
"""Where it is given, heads need not make up the hidden width."""
_DIVIDED: Final = (
    ("hidden_size", "num_attention_heads"),
    ("hidden_size", "num_heads"),
    ("n_embd", "n_head"),
    ("num_attention_heads", "num_key_value_heads"),
)
"""Widths of transformers, each with what must divide it."""
_WIDTHS: Final = frozenset(
    {name for pair in _DIVIDED for name in pair}
    | {"intermediate_size", "num_hidden_layers", "image_size", "patch_size", "vocab_size"}
)


def architecture_of(folder: Path, known: Mapping[str, Architecture] = ARCHITECTURES) -> Architecture:
    """Return the architecture of a checkpoint folder.

    Parameters
    ----------
    folder
        In Hugging Face's layout.
    known
        The classes that may be there.

    Raises
    ------
    CheckpointError
        If there is no readable configuration, it names no known class, its widths do not go together, the folder is a
        whole pipeline, or an adapter (LoRA) lies in it.
    """
    _refuse_pipeline(folder)
    refuse_adapters(folder)
    config = read_config(folder)
    name = class_of(config)
    if name not in known:
        raise CheckpointError(f"{folder / CONFIG}: {name or 'no class'} is not known; known are {', '.join(known)}.")
    _check_widths(config, folder / CONFIG)
    return known[name]


def _check_widths(config: Mapping[str, Any], path: Path, place: str = "") -> None:
    """Raise `CheckpointError` for widths that no network has: libraries tell of them in words of their own, late.

    What is a list, as in some networks of diffusers, is left to them.
    """
    for name in _WIDTHS & config.keys():
        width = config[name]
        if isinstance(width, bool | float | str) or (isinstance(width, int) and width < 1):
            raise CheckpointError(f"{path}: {place}{name} is {width!r}; it is a whole number from 1 on.")
    for whole, part in _DIVIDED:
        has, by = config.get(whole), config.get(part)
        if isinstance(has, int) and isinstance(by, int) and config.get(_HEAD_WIDTH) is None and has % by:
            raise CheckpointError(f"{path}: {place}{whole} is {has}, which {place}{part}, {by}, does not divide.")
    for name, section in config.items():
        if isinstance(section, dict):
            _check_widths(section, path, f"{place}{name}.")


def read_folder(
    folder: Path, known: Mapping[str, Architecture] = ARCHITECTURES
) -> tuple[Architecture, FolderFiles, Checkpoint]:
    """Return a folder's architecture, the files that loading it reads, and what tensors they hold.

    Parameters
    ----------
    folder, known
        As for :func:`architecture_of`.

    Raises
    ------
    CheckpointError
        As :func:`architecture_of`, and where files of weights are missing or not whole.
    """
    architecture = architecture_of(folder, known)
    stored = read_checkpoint(folder, architecture.stem)
    index = folder.glob(f"{architecture.stem}*.index*.json") if len(stored.files) > 1 else ()
    further = [folder / name for name in _FURTHER if (folder / name).is_file()]
    return architecture, FolderFiles(folder, (folder / CONFIG, *stored.files, *index, *further)), stored


def read_config(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's configuration; raises `CheckpointError` where there is none."""
    return read_json(folder / CONFIG, "give a folder in Hugging Face's layout")


def _refuse_pipeline(folder: Path) -> None:
    """Raise `CheckpointError` for a diffusers pipeline, whose networks lie in folders of their own."""
    if not (folder / _PIPELINE).is_file():
        return
    index = read_json(folder / _PIPELINE, "download it again")
    classes = {name: said[1] for name, said in index.items() if isinstance(said, list) and len(said) == 2}
    known = [f"pocketcrafter build {folder / name} ({kind})" for name, kind in classes.items() if kind in ARCHITECTURES]
    what = f"build one of its networks: {'; '.join(known)}" if known else f"it has none of {', '.join(ARCHITECTURES)}"
    raise CheckpointError(f"{folder}: a whole pipeline ({index.get('_class_name')}) of {', '.join(classes)}; {what}.")


def read_json(path: Path, remedy: str, most_bytes: int = _MAX_BYTES) -> dict[str, Any]:
    """Read an object of JSON.

    Parameters
    ----------
    path
        The file.
    remedy
        What to do about a bad file, for the message.
    most_bytes
        Largest size that is read.

    Raises
    ------
    CheckpointError
        If it cannot be read, is too large, or holds no JSON object.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise CheckpointError(f"{path}: larger than any such file ({most_bytes} bytes).")
        found = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.parent}: no readable {path.name} ({error}); {remedy}.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: no object of JSON; {remedy}.")
    return found


def class_of(config: Mapping[str, Any]) -> str:
    """Return the class that a checkpoint's configuration names; empty where it names none.

    Parameters
    ----------
    config
        As ``config.json`` has it.
    """
    # transformers 4.57 hands what is asked of Qwen2.5-VL's configuration on to the language model's, this too.
    places = (config, config.get("text_config"))
    named = [place.get("architectures") for place in places if isinstance(place, dict)]
    first = next((names[0] for names in named if isinstance(names, list) and names), "")
    return str(config.get("_class_name") or first)
