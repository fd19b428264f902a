"""Gathers word vectors from a table of 8- or 4-bit integers, which is mapped into memory and never read whole.

The file is a safetensors file of two tensors:

=========  ==============================================  =============================================
tensor     8 bits                                          4 bits
=========  ==============================================  =============================================
`LEVELS`   int8 ``(words, width)``                         uint8 ``(words, width / 2)``: two levels a byte, from -8
                                                           on, the first in its lowest bits
`SCALES`   float32 ``(words,)``: one for each vector       bfloat16 ``(words, width / 32)``: one for each group
=========  ==============================================  =============================================

A vector is its levels times their scales.
"""

import json
import struct
from collections.abc import Mapping, Sequence
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
SCALES: Final = "scales"
GROUPED_BITS: Final = 4
GROUP: Final = 32
"""Values of a vector that share a scale where levels have `GROUPED_BITS`."""
_LOWEST: Final = -8
_HIGH_HALF: Final = 16
"""Bits that bfloat16 lacks of float32."""
_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 1 << 16
_TYPES: Final[Mapping[tuple[str, str], tuple[type[np.generic], int]]] = {
    (LEVELS, "I8"): (np.int8, 2),
    (SCALES, "F32"): (np.float32, 1),
    (LEVELS, "U8"): (np.uint8, 2),
    (SCALES, "BF16"): (np.uint16, 2),
}
"""What numpy maps each tensor as, and how many axes it has; numpy has no bfloat16."""


class EmbeddingTable:
    """An opened table; its vectors are float32.

    Parameters
    ----------
    levels, scales
        As the file has them.
    """

    def __init__(
        self, levels: npt.NDArray[np.int8] | npt.NDArray[np.uint8], scales: FloatArray | npt.NDArray[np.uint16]
    ) -> None:
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
        grouped = levels.dtype == np.uint8
        if scales.ndim != 1 + grouped or (grouped and 2 * levels.shape[1] != GROUP * scales.shape[1]):
            raise BundleError(f"{path}: levels {levels.shape} and scales {scales.shape} do not fit.")
        return cls(levels, scales)

    @property
    def shape(self) -> tuple[int, int]:
        """Words and the width of their vectors."""
        words, width = self._levels.shape
        return words, 2 * width if self._levels.dtype == np.uint8 else width

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
        levels, scales = np.asarray(self._levels[chosen]), np.asarray(self._scales[chosen])
        if levels.dtype == np.uint8:
            whole = np.stack([levels & 0xF, levels >> GROUPED_BITS], axis=-1).reshape(len(chosen), -1, GROUP)
            steps = (scales.astype(np.uint32) << _HIGH_HALF).view(np.float32)[..., None]
            grouped: FloatArray = (whole.astype(np.float32) + _LOWEST) * steps
            return grouped.reshape(len(chosen), -1)
        rows: FloatArray = levels.astype(np.float32) * scales.astype(np.float32)[:, None]
        return rows


def _mapped(path: Path, header: Any, name: str, start: int) -> Any:  # noqa: ANN401 - parsed JSON; an array of its type
    about = header[name]
    dtype, axes = _TYPES[name, about["dtype"]]
    shape = tuple(int(size) for size in about["shape"])
    first, last = about["data_offsets"]
    if len(shape) != axes or last - first != np.dtype(dtype).itemsize * int(np.prod(shape)):
        raise ValueError(f"`{name}` is {json.dumps(about)}")
    return np.memmap(path, dtype, "r", start + first, shape)
