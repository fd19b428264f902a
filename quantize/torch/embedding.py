"""Tables of word vectors in 8 or 4 bits, read row by row at run time."""

from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from pocketcrafter.quantize.algorithms.blocks import IntegerFormat, packed, round_to_nearest
from pocketcrafter.runtime.embedding import GROUP, GROUPED_BITS, LEVELS, SCALES
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import replacing

_HIGHEST: Final = 127
_ROWS: Final = 4096
"""Vectors that are rounded at once: searching scales takes some twenty times their memory."""


def quantize_embedding(table: Tensor, out: Path, bits: int = 8) -> None:
    """Write a table of vectors as levels with one scale for each row, or in 4 bits for each group of 32 in a row.

    Parameters
    ----------
    table
        ``(words, width)``, floating.
    out
        Where the safetensors file goes, whole or not at all: `LEVELS` and `SCALES`, as
        `pocketcrafter.runtime.embedding` describes them.
    bits
        Of a level: 8 or 4.

    Raises
    ------
    ConfigError
        If a value is not finite, or 4-bit groups do not divide the width.
    StorageError
        If the file cannot be written.
    """
    values = table.detach().float()
    if not torch.isfinite(values).all():
        raise ConfigError("A table of vectors that is not finite cannot be quantized: train the network again.")
    if bits == GROUPED_BITS:
        if table.shape[1] % GROUP:
            raise ConfigError(
                f"Word vectors of {table.shape[1]} values are not divided evenly into groups of {GROUP}: set "
                "`embedding_bits` to 8."
            )
        integers = IntegerFormat(bits, GROUP, bfloat16_scales=True)
        blocks = [round_to_nearest(rows, integers) for rows in torch.split(values, _ROWS)]
        packs = torch.cat([torch.from_numpy(packed(made)) for made in blocks])
        with replacing(out) as temporary:
            save_file({LEVELS: packs, SCALES: torch.cat([made.scales for made in blocks]).bfloat16()}, temporary)
        return
    scales = values.abs().amax(1) / _HIGHEST
    steps = scales.where(scales > 0, torch.ones_like(scales))[:, None]
    levels = (values / steps).round().to(torch.int8)
    with replacing(out) as temporary:
        save_file({LEVELS: levels, SCALES: scales}, temporary)
