"""How vectors are stored: cases as JSON, and their tensors one after the other in one file of raw numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.files import write_bytes, write_text

FORMAT: Final = 1
CASES: Final = "vectors.json"
TENSORS: Final = "tensors.bin"

Case = Mapping[str, Any]
"""Inputs and answers of one call by name: JSON, and tensors as `Recording.tensor` names them."""


class Recording:
    """Cases by the name of what they are of, and the tensors that they name."""

    def __init__(self) -> None:
        self._cases: dict[str, list[Case]] = {}
        self._tensors = bytearray()

    def tensor(self, array: npt.NDArray[Any]) -> dict[str, Any]:
        """Store an array, C order and little-endian, and return what stands for it in a case.

        Returns
        -------
        dict
            ``dtype`` (numpy's name), ``shape``, and ``offset`` in bytes into `TENSORS`; offsets are multiples of 8.
        """
        self._tensors += bytes(-len(self._tensors) % 8)
        offset = len(self._tensors)
        self._tensors += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        return {"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset}

    def add(self, name: str, cases: Sequence[Case]) -> None:
        """Add the cases of one function; none of its cases are there yet."""
        self._cases[name] = list(cases)

    @property
    def counts(self) -> dict[str, int]:
        """How many cases there are of each name."""
        return {name: len(cases) for name, cases in self._cases.items()}

    def write(self, folder: Path) -> None:
        """Write both files; the same cases give the same bytes.

        Raises
        ------
        StorageError
            If they cannot be written.
        """
        # No sorting: the order of a plan's attributes and of a manifest's keys is part of a case.
        text = json.dumps({"format": FORMAT, "cases": self._cases}, ensure_ascii=False, allow_nan=False, indent=1)
        write_bytes(folder / TENSORS, bytes(self._tensors))
        write_text(folder / CASES, f"{text}\n")
