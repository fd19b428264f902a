"""Pickles of tensors as safetensors: read by torch's restricted loader, which runs no code of the file's."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save
from torch import Tensor

from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes

_WRAPPERS: Final = ("state_dict", "module", "model_state")
"""Keys under which trainers put the tensors."""


def convert_pickle(source: Path, out: Path) -> dict[str, tuple[int, ...]]:
    """Write the tensors of a pickle as safetensors.

    Parameters
    ----------
    source
        As ``torch.save`` writes a state dictionary.
    out
        The file written.

    Returns
    -------
    dict
        Shape of each tensor by name.

    Raises
    ------
    CheckpointError
        If the file holds anything but tensors by name, or is damaged.
    ConfigError
        If there is a file where it would be written.
    """
    if out.exists():
        raise ConfigError(f"{out}: is there already; name a new file, or move it away.")
    try:
        found = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{source}: torch's restricted loader refuses it: it is no pickle, or holds more than tensors and may run "
            "code. Convert it where it was made, with model.save_pretrained(OUT, safe_serialization=True)."
        ) from error
    except Exception as error:  # of damaged files, torch's readers raise whatever they meet
        raise CheckpointError(
            f"{source}: damaged, or no pickle of torch ({type(error).__name__}); download it again."
        ) from error
    for name in _WRAPPERS:
        if isinstance(found, Mapping) and set(found) == {name}:
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()) or not found:
        raise CheckpointError(f"{source}: holds something else than tensors by name; write its state_dict() alone.")
    # Tensors that share memory are written each for itself.
    tensors = {str(name): value.detach().clone().contiguous() for name, value in found.items()}
    write_bytes(out, save(tensors))
    return {name: tuple(value.shape) for name, value in tensors.items()}
