"""Loads a teacher's networks in the precision that they run in, held against their files, with adapters merged."""

import importlib
from typing import Any

import torch
from safetensors.torch import load_file

from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.families.networks.folder import check_loaded
from pocketcrafter.export.families.networks.lora import merge
from pocketcrafter.export.teachers.layout import Found
from pocketcrafter.export.teachers.tensors import differences, short

_LIBRARIES = ("diffusers", "transformers")


def load_network(found: Found, dtype: torch.dtype, device: str) -> Any:  # noqa: ANN401 - the libraries are untyped
    """Load a network of diffusers or transformers.

    Parameters
    ----------
    found
        Where it lies.
    dtype
        Of its weights.
    device
        As torch names it.

    Raises
    ------
    CheckpointError
        If no installed library has its class, or what was loaded is not what the files hold, value by value.
    """
    kind = next((k for name in _LIBRARIES if (k := getattr(importlib.import_module(name), found.kind, None))), None)
    if kind is None:
        raise CheckpointError(f"{found.path}: {found.kind} is a class of neither {' nor '.join(_LIBRARIES)} here.")
    model = _from_file(found, kind, dtype) if found.is_file else _from_folder(found, kind, dtype)
    merge(model, found.adapters)
    return model.to(device)


def _from_folder(found: Found, kind: Any, dtype: torch.dtype) -> Any:  # noqa: ANN401 - as above
    name = "torch_dtype" if kind.__module__.startswith("diffusers") else "dtype"
    try:
        model = kind.from_pretrained(
            found.path, local_files_only=True, use_safetensors=True, variant=found.stored.variant, **{name: dtype}
        )
    except Exception as error:  # both libraries raise whatever they meet
        raise CheckpointError(f"{found.path}: {found.kind} cannot be loaded: {error}") from error
    model.eval().requires_grad_(requires_grad=False)
    check_loaded(model, found.stored)
    return model


def _from_file(found: Found, kind: Any, dtype: torch.dtype) -> Any:  # noqa: ANN401 - as above
    """Load weights that come without configuration, into the network that has such tensors."""
    with torch.device("meta"):
        model = kind(**found.config)
    missing, foreign = differences({name: tuple(t.shape) for name, t in model.state_dict().items()}, found.shapes)
    if missing or foreign:
        raise CheckpointError(
            f"{found.path}: is no {found.kind} of {found.config}: missing {short(missing) or 'nothing'}; foreign "
            f"{short(foreign) or 'nothing'}. Download it again."
        )
    tensors = {name: value.to(dtype) for name, value in load_file(found.path).items()}
    if strange := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
        raise CheckpointError(f"{found.path}: {short(strange)} has values that are not finite; download it again.")
    # Buffers that are no weights (rotary tables) are not in the file, and were made without memory.
    own = kind(**{**found.config, "num_layers": 0})
    model.load_state_dict(tensors, assign=True)
    model.pos_embed = own.pos_embed
    return model.eval().requires_grad_(requires_grad=False)
