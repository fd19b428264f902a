"""Memory-mapped arrays of training frames, of one configuration, filled in units so that an interruption resumes."""

import io
import json
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from torch import Tensor

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import allocate, write_bytes, write_text, writing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance as _Dataclass
else:
    _Dataclass = object

Layout = Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]]
"""Type and shape of a row of each array, by name."""


class StoredArrays(_Dataclass):
    """A dataclass whose fields are arrays of one folder."""

    @classmethod
    def open(cls, folder: Path, mode: Literal["r", "r+"] = "r") -> Self:
        """Map the arrays of a folder."""
        return cls(**{field.name: np.load(folder / f"{field.name}.npy", mode) for field in fields(cls)})


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of weights, in their own order."""
    return sha256(b"".join(tensor.numpy().tobytes() for tensor in weights.values())).hexdigest()


def open_progress(
    folder: Path, config: Config, layout: Layout, rows: int, units: int
) -> np.memmap[Any, np.dtype[np.bool_]]:
    """Map which units of a store are done, after making the store where there is none.

    Parameters
    ----------
    folder
        Where the arrays are kept.
    config
        What identifies the store.
    layout, rows
        Its arrays, and the length of each.
    units
        How many parts it is made in.

    Raises
    ------
    ConfigError
        If the folder holds a store of another configuration.
    StorageError
        If there is no room for it.
    """
    done_path, config_path = folder / "done.npy", folder / "store.json"
    if config_path.exists():
        try:
            same = type(config).model_validate_json(config_path.read_text(encoding="utf-8")) == config
        except ValidationError:
            same = False
        if not same:
            raise ConfigError(f"{folder} holds frames of another configuration; remove it, or name another folder.")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (dtype, shape) in layout.items():
            path = folder / f"{name}.npy"
            with writing(path):
                array = np.lib.format.open_memmap(path, "w+", dtype, (rows, *shape))  # type: ignore[no-untyped-call] # numpy's
            allocate(path, array.offset + array.nbytes)
        write_array(done_path, np.zeros(units, dtype=bool))
        # Last, so that a store with a configuration is whole.
        write_text(config_path, json.dumps(config.model_dump()))
    done: np.memmap[Any, np.dtype[np.bool_]] = np.load(done_path, "r+")
    return done


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array whole, or nothing."""
    written = io.BytesIO()
    np.save(written, array)
    write_bytes(path, written.getvalue())
