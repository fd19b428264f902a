"""Loads a checkpoint folder's network and takes it apart into components, in memory of their own.

The loaded network is held against the checkpoint: every weight is one of the file's, and none of those was left out.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from torch import Tensor, nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks import captioner, diffusion, qwen, vision_language
from pocketcrafter.export.families.networks.architecture import Architecture, architecture_of, read_config
from pocketcrafter.export.families.networks.checkpoint import Checkpoint, CheckpointError, StoredTensor, read_checkpoint

_MOST_TOLD: Final = 20
_SAMPLES: Final = 64


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
        As for `pocketcrafter.export.families.networks.folder.check_loaded`.

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


def check_loaded(model: nn.Module, stored: Checkpoint, unread: Sequence[str] = ()) -> None:
    """Compare every value of a network's weights with those in the files that it was loaded from.

    Libraries fill what a file lacks with random numbers, or with whatever memory held, and report it in a log at most.
    What they say is not relied on: tensors are compared by name, and where a library renames them, by shape and values.

    Parameters
    ----------
    model
        As loaded, before anything is done with it; stored values are compared as its types hold them.
    stored
        What was loaded.
    unread
        Beginnings of names of modules that the network never runs: they may be missing.

    Raises
    ------
    CheckpointError
        If a weight is not in the files, is there in another shape or with other values, was left out by the loader, or
        is not finite. It names all of them.
    """
    faults = list(_Audit(model, stored, unread).faults())
    if not faults:
        return
    told = "\n".join(f"  {fault}" for fault in faults[:_MOST_TOLD])
    more = f"\n  … and {len(faults) - _MOST_TOLD} more" if len(faults) > _MOST_TOLD else ""
    raise CheckpointError(
        f"{stored.files[0].parent}: {type(model).__name__} and its files do not fit:\n{told}{more}\nNothing was built. "
        "Download the checkpoint again, or write it again with save_pretrained from the network that was trained."
    )


class _Audit:
    def __init__(self, model: nn.Module, stored: Checkpoint, unread: Sequence[str]) -> None:
        self._model, self._stored, self._unread = model, stored, tuple(unread)
        self._loaded: dict[str, Tensor] = model.state_dict()
        self._tied: dict[tuple[int, torch.Size, tuple[int, ...]], list[str]] = defaultdict(list)
        for name, tensor in self._loaded.items():
            self._tied[_place(tensor)].append(name)
        self._unproved = set(self._loaded)

    def faults(self) -> Iterator[str]:
        renamed: list[StoredTensor] = []
        with ExitStack() as stack:
            files: dict[Any, Any] = {f: stack.enter_context(safe_open(f, "pt")) for f in self._stored.files}
            for tensor in sorted(self._stored.tensors.values(), key=lambda t: (t.file, t.start)):
                value: Tensor = files[tensor.file].get_tensor(tensor.name)
                loaded = self._loaded.get(tensor.name)
                if loaded is not None and loaded.shape != value.shape:
                    self._unproved.discard(tensor.name)
                    yield f"{tensor.name}: {list(value.shape)} in the file, {list(loaded.shape)} in the network"
                elif not _finite(value if loaded is None else value.to(loaded.dtype)):
                    self._unproved.discard(tensor.name)
                    yield f"{tensor.name}: has values that are not finite (NaN or infinite)"
                elif loaded is None:
                    renamed.append(tensor)
                elif _same(loaded, value):
                    self._prove(tensor.name)
                else:
                    self._unproved.discard(tensor.name)
                    yield f"{tensor.name}: the loader took other values than the file has"
            left = self._match(renamed, files)
        for name in sorted(self._unproved):
            if not name.startswith(self._unread) and not _matches(self._model, "_keys_to_ignore_on_load_missing", name):
                yield f"{name}: missing; the network needs {list(self._loaded[name].shape)}, and no file has it"
        buffers = {name for name, _ in self._model.named_buffers()}
        for tensor in left:
            known = tensor.name in buffers or _matches(self._model, "_keys_to_ignore_on_load_unexpected", tensor.name)
            if not known:
                yield f"{tensor.name}: unexpected; the network has no place for it, and it would be left out"

    def _match(self, renamed: Sequence[StoredTensor], files: Mapping[Any, Any]) -> list[StoredTensor]:
        """Find what libraries renamed by its values; return what is nowhere in the network."""
        waiting: dict[tuple[object, ...], list[str]] = defaultdict(list)
        for name in sorted(self._unproved):
            if not self._loaded[name].is_meta:
                waiting[_sample(self._loaded[name])].append(name)
        types = {self._loaded[name].dtype for names in waiting.values() for name in names}
        left = []
        for tensor in renamed:
            value: Tensor = files[tensor.file].get_tensor(tensor.name)
            found = [
                name
                for type_ in types
                for name in waiting.get(_sample(value.to(type_)), ())
                if name in self._unproved and _same(self._loaded[name], value)
            ]
            if found:
                self._prove(found[0])
            else:
                left.append(tensor)
        return left

    def _prove(self, name: str) -> None:
        """Note that a weight is the file's, and with it all that share its memory."""
        self._unproved.difference_update([name, *self._tied[_place(self._loaded[name])]])


def _place(tensor: Tensor) -> tuple[int, torch.Size, tuple[int, ...]]:
    # Neither an empty tensor nor one without memory shares it with another.
    own = tensor.is_meta or not tensor.numel()
    return (-id(tensor) if own else tensor.data_ptr(), tensor.shape, tensor.stride())


def _sample(tensor: Tensor) -> tuple[object, ...]:
    """Return a tensor's shape and some of its values, in float32 as they are loaded."""
    flat = tensor.reshape(-1)
    some = flat[:: max(1, flat.numel() // _SAMPLES)].float()
    return (tuple(tensor.shape), *some.tolist())


def _same(loaded: Tensor, value: Tensor) -> bool:
    return not loaded.is_meta and torch.equal(loaded, value.to(loaded.dtype))


def _finite(value: Tensor) -> bool:
    if not value.is_floating_point():
        return True
    # Types of 8 bits have no test of their own.
    return bool(torch.isfinite(value if value.element_size() > 1 else value.float()).all())


def _matches(model: nn.Module, patterns: str, name: str) -> bool:
    """Whether the network's own class says that a name may be missing, or be left out."""
    return any(re.search(pattern, name) for pattern in getattr(model, patterns, None) or ())
