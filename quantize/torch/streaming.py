"""Weight-only quantization of a safetensors file with bounded memory: it holds a slice of one matrix at a time.

In the file written, each matrix ``name`` with a multiple of 32 columns is replaced by ``name.levels`` (uint8, one to
four unsigned levels a byte, the first in its lowest bits) and ``name.scales`` (float32, one for 32 columns). All other
tensors are copied.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pocketcrafter.quantize.algorithms.blocks import GROUP_SIZE, IntegerFormat, packed, round_to_nearest
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import replacing

_SLICE: Final = 1 << 20
"""Weights that are rounded at a time."""
_SMALLEST: Final = 4096
"""Matrices of fewer weights are copied."""
_DTYPES: Final[Mapping[torch.dtype, str]] = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def quantize_file(
    source: Path, out: Path, bits: int, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[str, ...]:
    """Quantize the matrices of a file.

    Parameters
    ----------
    source
        Safetensors.
    out
        Where the quantized file goes, whole or not at all.
    bits
        2, 4 or 8.
    progress
        Called with matrices done and tensors in all.

    Returns
    -------
    tuple of str
        The names of the matrices that were quantized.

    Raises
    ------
    ConfigError
        If the file is damaged, holds nothing to quantize, or a weight is not finite.
    StorageError
        If the quantized file cannot be written.
    """
    try:
        with safe_open(source, framework="pt") as file:
            names = sorted(file.keys())
            facts = {name: file.get_slice(name) for name in names}
            chosen = tuple(name for name, s in facts.items() if _is_chosen(s))
            if not chosen:
                raise ConfigError(f"{source}: no matrix with a multiple of {GROUP_SIZE} columns to quantize.")
            encoded = json.dumps(_header(facts, set(chosen), bits)).encode()
            with replacing(out) as temporary, temporary.open("wb") as stream:
                stream.write(struct.pack("<Q", len(encoded)) + encoded)
                for done, name in enumerate(names):
                    progress(done, len(names))
                    if name not in chosen:
                        stream.write(_bytes(file.get_tensor(name)))
                        continue
                    scales = []
                    for weight in _slices(facts[name]):
                        blocks = round_to_nearest(weight.float(), IntegerFormat(bits))
                        stream.write(packed(blocks).tobytes())
                        scales.append(blocks.scales)
                    stream.write(_bytes(torch.cat(scales)))
        progress(len(names), len(names))
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{source}: cannot be quantized ({error}).") from error
    return chosen


def _is_chosen(part: Any) -> bool:  # noqa: ANN401 - safetensors is untyped
    shape = part.get_shape()
    floating = part.get_dtype() in {"F32", "F16", "BF16"}
    return floating and len(shape) == 2 and shape[1] % GROUP_SIZE == 0 and shape[0] * shape[1] >= _SMALLEST


def _header(facts: Mapping[str, Any], chosen: set[str], bits: int) -> dict[str, Any]:
    header: dict[str, Any] = {"__metadata__": {"bits": str(bits), "block": str(GROUP_SIZE)}}
    place = 0
    for name, part in facts.items():
        shape = list(part.get_shape())
        if name in chosen:
            rows, columns = shape
            stored = {f"{name}.levels": ("U8", [rows, columns * bits // 8], 1)}
            stored[f"{name}.scales"] = ("F32", [rows, columns // GROUP_SIZE], 4)
        else:
            dtype = part.get_dtype()
            stored = {name: (dtype, shape, _width(name, dtype))}
        for key, (kind, size, width) in stored.items():
            end = place + width * int(np.prod(size, dtype=np.int64))
            header[key] = {"dtype": kind, "shape": size, "data_offsets": [place, end]}
            place = end
    return header


def _width(name: str, dtype: str) -> int:
    found = next((kind.itemsize for kind, text in _DTYPES.items() if text == dtype), None)
    if found is None:
        raise ConfigError(f"`{name}` is of type {dtype}: it cannot be copied; convert it to float32.")
    return found


def _slices(part: Any) -> Iterator[Tensor]:  # noqa: ANN401 - as above
    rows, columns = part.get_shape()
    step = max(1, _SLICE // columns)
    for start in range(0, rows, step):
        yield part[start : min(start + step, rows)]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
