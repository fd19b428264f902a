"""Tables of word vectors in 8 bits: a scale for each word, read row by row at run time."""

from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from pocketcrafter.runtime.embedding import LEVELS, SCALES
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import replacing

_HIGHEST: Final = 127


def quantize_embedding(table: Tensor, out: Path) -> None:
    """Write a table of vectors as 8-bit levels with one scale for each row.

    Parameters
    ----------
    table
        ``(words, width)``, floating.
    out
        Where the safetensors file goes, whole or not at all: `LEVELS`, int8 ``(words, width)``, and `SCALES`, float32
        ``(words,)``; a vector is its levels times its scale.

    Raises
    ------
    ConfigError
        If a value is not finite.
    StorageError
        If the file cannot be written.
    """
    values = table.detach().float()
    if not torch.isfinite(values).all():
        raise ConfigError("A table of vectors that is not finite cannot be quantized: train the network again.")
    scales = values.abs().amax(1) / _HIGHEST
    steps = scales.where(scales > 0, torch.ones_like(scales))[:, None]
    levels = (values / steps).round().to(torch.int8)
    with replacing(out) as temporary:
        save_file({LEVELS: levels, SCALES: scales}, temporary)
