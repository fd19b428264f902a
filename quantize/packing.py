"""Levels of few bits in bytes."""

import numpy as np
import numpy.typing as npt

from pocketcrafter.quantize.blocks import Blocks


def packed(blocks: Blocks) -> npt.NDArray[np.uint8]:
    """Return levels counted from the lowest, ``(N, K · bits / 8)``; of those in a byte the first is lowest."""
    bits = blocks.bits
    levels = (blocks.levels.numpy().astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    count = 8 // bits
    made = np.zeros((levels.shape[0], levels.shape[1] // count), np.uint8)
    for place in range(count):
        made |= levels[:, place::count] << np.uint8(place * bits)
    return made


def unpacked(stored: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.int8]:
    """Return levels around 0, ``(N, K)``, of what `packed` made."""
    parts = [stored >> shift & (2**bits - 1) for shift in range(0, 8, bits)]
    levels = np.stack(parts, -1).reshape(stored.shape[0], -1).astype(np.int16)
    centered: npt.NDArray[np.int8] = (levels - 2 ** (bits - 1)).astype(np.int8)
    return centered
