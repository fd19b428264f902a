"""Finds weights that are not numbers in the files themselves, a few megabytes at a time: before anything is loaded."""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from pocketcrafter.export.families.networks.checkpoint import CheckpointError, StoredTensor

_CHUNK_BYTES: Final = 1 << 24
_EXPONENTS: Final[Mapping[str, tuple[type[np.unsignedinteger], int]]] = {
    "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
"""Bits of the exponent, by the format's names of types: all of them are set in infinities and in what is no number."""
_MOST_TOLD: Final = 5


def check_finite(tensors: Iterable[StoredTensor]) -> None:
    """Read weights and refuse those with infinite values, or some that are no numbers; other types are not looked at.

    Parameters
    ----------
    tensors
        As the headers of their files have them.

    Raises
    ------
    CheckpointError
        If there are such values; it names the tensors and their file.
    """
    faulty = [tensor for tensor in sorted(tensors, key=lambda t: (t.file, t.start)) if not _is_finite(tensor)]
    if not faulty:
        return
    names = ", ".join(f"`{tensor.name}`" for tensor in faulty[:_MOST_TOLD])
    more = f" and {len(faulty) - _MOST_TOLD} more" if len(faulty) > _MOST_TOLD else ""
    raise CheckpointError(
        f"{faulty[0].file}: {names}{more}: values that are not finite (NaN or infinite). Download the checkpoint "
        "again; where it was trained so, take an earlier one."
    )


def _is_finite(tensor: StoredTensor) -> bool:
    if tensor.dtype not in _EXPONENTS:
        return True
    kind, exponent = _EXPONENTS[tensor.dtype]
    with tensor.file.open("rb") as opened:
        opened.seek(tensor.start)
        for start in range(0, tensor.size, _CHUNK_BYTES):
            bits = np.frombuffer(opened.read(min(_CHUNK_BYTES, tensor.size - start)), kind)
            if bool((bits & kind(exponent) == exponent).any()):
                return False
    return True
