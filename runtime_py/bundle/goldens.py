"""Goldens: small recorded inputs and expected outputs of a component, read without trusting the file."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import TensorSpec
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.files import write_bytes

_HEADER_BYTES: Final = 4096
_BYTE_IS_UNIT: Final = 255.0
_HALF_MAX: Final = float(np.finfo(np.float16).max)

GOLDENS_ARE_ROUNDED: Final = (
    "Goldens keep their outputs in float16: against them no artifact comes much nearer than 70 dB."
)
"""What people must know who compare the build's figures with those of goldens."""


def write_tensors(path: Path, arrays: Mapping[str, FloatArray], specs: Sequence[TensorSpec]) -> None:
    """Write tensors compactly and reproducibly.

    Parameters
    ----------
    path
        Destination, `.npz`.
    arrays
        One float32 array per spec, of its shape.
    specs
        The tensors. A picture in [0, 1] (four axes) becomes uint8, everything else float16, or float32 where float16
        would overflow.
    """
    stored = {t.name: _packed(arrays[t.name], t) for t in specs}
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, **stored)
    write_bytes(path, archive.getvalue())


def read_tensors(path: Path, specs: Sequence[TensorSpec]) -> dict[str, FloatArray]:
    """Read tensors as float32 in the specs' shapes.

    Raises
    ------
    BundleError
        If the file is not an archive of exactly these tensors in legal types and sizes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {i.filename: i.file_size for i in archive.infolist()}
        wanted = {f"{t.name}.npy": 4 * int(np.prod(t.shape)) + _HEADER_BYTES for t in specs}
        if sizes.keys() != wanted.keys():
            raise BundleError(f"{path}: holds {', '.join(sizes) or 'nothing'}; expected {', '.join(wanted)}.")
        if too_big := [n for n, size in sizes.items() if size > wanted[n]]:
            raise BundleError(f"{path}: {', '.join(too_big)} is larger than its tensor.")
        with np.load(path, allow_pickle=False) as data:
            return {t.name: _unpacked(data[t.name], t, path) for t in specs}
    except (OSError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error


def _packed(array: FloatArray, spec: TensorSpec) -> np.typing.NDArray[np.generic]:
    if array.ndim == 4 and (spec.minimum, spec.maximum) == (0, 1):
        return np.round(np.clip(array, 0, 1) * _BYTE_IS_UNIT).astype(np.uint8)
    small_enough = np.max(np.abs(array), initial=0.0) < _HALF_MAX
    return array.astype(np.float16 if small_enough else np.float32)


def _unpacked(array: np.typing.NDArray[np.generic], spec: TensorSpec, path: Path) -> FloatArray:
    if array.shape != spec.shape or array.dtype not in (np.uint8, np.float16, np.float32):
        raise BundleError(f"{path}: `{spec.name}` is {array.dtype} {array.shape}; its shape must be {spec.shape}.")
    scale = _BYTE_IS_UNIT if array.dtype == np.uint8 else 1.0
    result = array.astype(np.float32) / np.float32(scale)
    if not np.isfinite(result).all():
        raise BundleError(f"{path}: `{spec.name}` has values that are not finite.")
    return result
