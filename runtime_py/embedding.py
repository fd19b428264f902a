"""Gathers word vectors from a table of 8-bit integers, which is mapped into memory and never read whole."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.config import parse_json
from pocketcrafter.runtime.errors import BundleError, ConfigError

TABLE: Final = "embedding/table.safetensors"
"""Where a bundle with a language model has the table of its words' vectors."""
LEVELS: Final = "levels"
"""int8, ``(words, width)``."""
SCALES: Final = "scales"
"""float32, ``(words,)``: a vector is its levels times its scale."""
_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 1 << 16
_TYPES: Final = {LEVELS: ("I8", np.int8, 2), SCALES: ("F32", np.float32, 1)}


class EmbeddingTable:
    """An opened table; its vectors are float32.

    Parameters
    ----------
    levels, scales
        As the file has them.
    """

    def __init__(self, levels: npt.NDArray[np.int8], scales: FloatArray) -> None:
        self._levels, self._scales = levels, scales

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a safetensors file with `LEVELS` and `SCALES`.

        Raises
        ------
        BundleError
            If it is no such file.
        """
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(_LENGTH_BYTES))
                header = parse_json(file.read(min(length, _MAX_HEADER_BYTES)))
            start = _LENGTH_BYTES + length
            levels, scales = (_mapped(path, header, name, start) for name in (LEVELS, SCALES))
        except (OSError, ValueError, KeyError, TypeError, struct.error, RecursionError) as error:
            raise BundleError(f"{path}: not a table of word vectors ({error}).") from error
        if len(levels) != len(scales):
            raise BundleError(f"{path}: {len(levels)} vectors and {len(scales)} scales.")
        return cls(levels, scales)

    @property
    def shape(self) -> tuple[int, int]:
        """Words and the width of their vectors."""
        words, width = self._levels.shape
        return words, width

    def rows(self, words: Sequence[int] | npt.NDArray[np.integer]) -> FloatArray:
        """Return the vectors of words, ``(N, width)``.

        Raises
        ------
        ConfigError
            If there is no such word.
        """
        chosen = np.asarray(words, np.int64)
        if chosen.size and not 0 <= chosen.min() <= chosen.max() < len(self._levels):
            raise ConfigError(
                f"Words are numbered from 0 to {len(self._levels) - 1}; got {chosen.min()} to {chosen.max()}."
            )
        rows: FloatArray = self._levels[chosen].astype(np.float32) * self._scales[chosen][:, None]
        return rows


def _mapped(path: Path, header: Any, name: str, start: int) -> Any:  # noqa: ANN401 - parsed JSON; an array of its type
    kind, dtype, axes = _TYPES[name]
    about = header[name]
    shape = tuple(int(size) for size in about["shape"])
    first, last = about["data_offsets"]
    if about["dtype"] != kind or len(shape) != axes or last - first != np.dtype(dtype).itemsize * int(np.prod(shape)):
        raise ValueError(f"`{name}` is {json.dumps(about)}")
    return np.memmap(path, dtype, "r", start + first, shape)
