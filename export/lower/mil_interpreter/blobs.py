"""Reads tensors out of a package's weight file without coremltools.

The file is a 64-byte header, then for each tensor a 64-byte record (sentinel, type, bytes, offset, padding bits) and
its data; a program names the record's offset. Elements smaller than a byte lie in one little-endian stream of bits.
"""

import struct
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.errors import MilError
from pocketcrafter.export.lower.mil_interpreter.types import DType, Kind

_RECORD: Final = struct.Struct("<IIQQQ")
_SENTINEL: Final = 0xDEADBEEF


def read_blob(path: Path, offset: int, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    """Read one tensor.

    Parameters
    ----------
    path
        The weight file.
    offset
        Where its record begins, in bytes.
    dtype, shape
        What the program declares.

    Returns
    -------
    torch.Tensor
        float32, int64 or bool, of ``shape``.

    Raises
    ------
    MilError
        If the file has no such record, or the record's size is not the declared one.
    """
    data = np.memmap(path, np.uint8, "r")
    if offset < 0 or offset + _RECORD.size > len(data):
        raise MilError(f"{path}: no tensor begins at byte {offset}: the file has {len(data)} bytes.")
    sentinel, _, size, start, _ = _RECORD.unpack(data[offset : offset + _RECORD.size].tobytes())
    if sentinel != _SENTINEL:
        raise MilError(f"{path}: no tensor begins at byte {offset}.")
    elements = int(np.prod(shape, dtype=np.int64))
    if size < (elements * dtype.bits + 7) // 8 or start + size > len(data):
        raise MilError(f"{path}: the tensor at byte {offset} has {size} bytes; {elements} × {dtype.name} need more.")
    return decode(data[start : start + size], dtype, elements).reshape(shape)


def decode(raw: np.ndarray[tuple[int], np.dtype[np.uint8]], dtype: DType, elements: int) -> Tensor:
    """Return the first ``elements`` values of raw bytes, as float32, int64 or bool.

    Parameters
    ----------
    raw
        Bytes of the blob.
    dtype
        Declared type of the elements.
    elements
        Number of elements.
    """
    if dtype.bits < 8:
        return torch.from_numpy(_unpacked(raw, dtype, elements))
    letter = {Kind.FLOAT: "f", Kind.BOOL: "u", Kind.INTEGER: "i" if dtype.signed else "u"}[dtype.kind]
    width = dtype.bits // 8
    values = np.frombuffer(raw[: elements * width].tobytes(), f"<{letter}{width}")
    if dtype.kind is Kind.FLOAT:
        return torch.from_numpy(values.astype(np.float32))
    return torch.from_numpy(values.astype(np.bool_ if dtype.kind is Kind.BOOL else np.int64))


def _unpacked(
    raw: np.ndarray[tuple[int], np.dtype[np.uint8]], dtype: DType, elements: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    bits = np.unpackbits(raw, bitorder="little")[: elements * dtype.bits].reshape(elements, dtype.bits)
    weights = 1 << np.arange(dtype.bits, dtype=np.int64)
    if dtype.signed:
        weights[-1] *= -1
    return bits.astype(np.int64) @ weights
