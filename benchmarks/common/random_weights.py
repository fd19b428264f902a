"""Random weights of any size as safetensors, written one tensor after the other."""

import json
import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Final, Literal

import numpy as np

_TYPES: Final = {"F16": np.float16, "F32": np.float32}
_AT_ONCE: Final = 1 << 24
"""Values that are drawn at a time."""


def write_random(path: Path, shapes: Mapping[str, Sequence[int]], dtype: Literal["F16", "F32"], seed: int = 0) -> int:
    """Write tensors whose products keep the spread of what they multiply, in the memory of a few of their rows.

    Matrices and kernels are drawn from a normal distribution with variance one over the inputs of an output; vectors
    are those of a normalization at its start: weights are 1, biases 0.

    Parameters
    ----------
    path
        The file that is written.
    shapes
        By the tensors' names.
    dtype
        Of all of them, as safetensors names it.
    seed
        What they are drawn from.

    Returns
    -------
    int
        How many values that are.
    """
    kind, header, place = _TYPES[dtype], dict[str, object](), 0
    for name, shape in shapes.items():
        end = place + np.dtype(kind).itemsize * prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, end]}
        place = end
    encoded, generator = json.dumps(header).encode(), np.random.default_rng(seed)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        for name, shape in shapes.items():
            left = prod(shape)
            while left:
                count = min(left, _AT_ONCE)
                if len(shape) > 1:
                    values = generator.standard_normal(count, np.float32) / np.float32(prod(shape[1:]) ** 0.5)
                else:
                    values = np.full(count, name.endswith("weight"), np.float32)
                stream.write(values.astype(kind).tobytes())
                left -= count
    return sum(map(prod, shapes.values()))
