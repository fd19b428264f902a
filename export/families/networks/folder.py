"""Loads a checkpoint folder's network and takes it apart into components, in memory of their own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks import captioner, diffusion, qwen, vision_language
from pocketcrafter.export.families.networks.architecture import Architecture, architecture_of, read_config
from pocketcrafter.export.families.networks.audit import check_loaded
from pocketcrafter.export.families.networks.checkpoint import CheckpointError, read_checkpoint


@dataclass(frozen=True)
class _Loader:
    load: Callable[[Path, str | None], nn.Module]
    """Takes the folder, and the variant of the weights."""
    parts: Callable[[nn.Module, Mapping[str, Any]], Sequence[Part]]
    """Takes the network and its configuration; answers the architecture's components, in order."""
    unread: tuple[str, ...] = ()
    """Beginnings of names of weights that the parts never read: the only ones that may be missing."""


_AUTOENCODER: Final = _Loader(diffusion.load, diffusion.autoencoder_parts)
_VISION_LANGUAGE: Final = _Loader(vision_language.load, vision_language.parts)

LOADERS: Final[Mapping[str, _Loader]] = {
    "UNet2DConditionModel": _Loader(diffusion.load, diffusion.unet_parts),
    "AutoencoderTiny": _AUTOENCODER,
    "AutoencoderKL": _AUTOENCODER,
    "Idefics3ForConditionalGeneration": _VISION_LANGUAGE,
    "SmolVLMForConditionalGeneration": _VISION_LANGUAGE,
    "LlamaForCausalLM": _Loader(vision_language.load_text, vision_language.text_parts),
    "VisionEncoderDecoderModel": _Loader(captioner.load, captioner.parts, captioner.UNREAD),
    "Qwen2_5_VLForConditionalGeneration": _Loader(vision_language.load, qwen.parts),
}
"""How each of `architecture.ARCHITECTURES` is loaded."""


def load_network(folder: Path) -> nn.Module:
    """Load a network from disk alone, whole; the rest as :func:`load_folder`.

    Raises
    ------
    CheckpointError
        As :func:`load_folder`.
    """
    architecture = architecture_of(folder)
    loader = LOADERS[architecture.name]
    return load_checked(folder, architecture, loader.load, loader.unread)


def load_checked(
    folder: Path, architecture: Architecture, load: Callable[[Path, str | None], nn.Module], unread: Sequence[str] = ()
) -> nn.Module:
    """Load a network of a given class, and hold it against its files.

    Parameters
    ----------
    folder, architecture
        What is loaded.
    load
        Takes the folder, and the variant of the weights.
    unread
        As for `pocketcrafter.export.families.networks.audit.check_loaded`.

    Raises
    ------
    CheckpointError
        As :func:`load_folder`.
    """
    stored = read_checkpoint(folder, architecture.stem)
    with _telling(folder, architecture.name):
        model = load(folder, stored.variant).eval().requires_grad_(False)
        check_loaded(model, stored, unread)
        return model


def load_folder(folder: Path) -> tuple[Part, ...]:
    """Load a network from disk alone and return its components.

    Parameters
    ----------
    folder
        Holds ``config.json`` and safetensors, as ``save_pretrained`` of diffusers and transformers leaves them. Nothing
        is fetched, and nothing that Python would execute is read.

    Raises
    ------
    CheckpointError
        If there is no such configuration, its class is none of those known, there are only pickled weights, files are
        damaged or missing, or what was loaded is not what the files hold, value by value.
    """
    name = architecture_of(folder).name
    model = load_network(folder)
    with _telling(folder, name):
        return tuple(LOADERS[name].parts(model, read_config(folder)))


@contextmanager
def _telling(folder: Path, name: str) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # both libraries raise whatever they meet
        raise CheckpointError(f"{folder}: {name} cannot be loaded: {type(error).__name__}: {error}") from error
