"""What quantizing a large model takes: peak memory of a process that streams random weights through it."""

import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.benchmarks.common.fresh_process import EndedError, in_fresh_process
from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.common.random_weights import write_random
from pocketcrafter.quantize.torch.streaming import quantize_file
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.memory import resident_mib

_WIDTH: Final = 2048
_MEBI: Final = 1 << 20
_FACTOR: Final = 2.5
_FIXED: Final = 1 << 30


class MemoryRow(Config):
    """One size of model."""

    parameters: int = Field(ge=1)
    bits: int
    model_mib: float = Field(description="Size in float32.")
    peak_mib: float = Field(description="Highest resident memory of the process, its libraries included.")
    bar_mib: float = Field(description="2.5 times the model, and 1 GiB.")
    quantized_mib: float
    seconds: float


def measure_memory(parameters: int, bits: int, folder: Path | None = None) -> MemoryRow:
    """Write random weights, quantize them in a process of its own, and return what that took.

    Parameters
    ----------
    parameters
        How many weights, about.
    bits
        Of a quantized weight.
    folder
        Where the temporary files go; the system's when `None`.

    Raises
    ------
    BackendError
        If the process fails.
    """
    with tempfile.TemporaryDirectory(dir=folder) as room:
        source, out = Path(room) / "model.safetensors", Path(room) / "quantized.safetensors"
        layers = max(1, round(parameters / _WIDTH**2))
        count = write_random(source, {f"layers.{i:04d}.weight": (_WIDTH, _WIDTH) for i in range(layers)}, "F32")
        started = time.perf_counter()
        try:
            peak = in_fresh_process(_quantize, source, out, bits)
        except EndedError as error:
            raise BackendError(f"Quantizing {count} parameters failed; is there room in {room}?") from error
        return MemoryRow(
            parameters=count,
            bits=bits,
            model_mib=4 * count / _MEBI,
            peak_mib=peak,
            bar_mib=(_FACTOR * 4 * count + _FIXED) / _MEBI,
            quantized_mib=out.stat().st_size / _MEBI,
            seconds=time.perf_counter() - started,
        )


def memory_table(rows: list[MemoryRow]) -> str:
    """Return the rows as a Markdown table."""
    head = ("parameters", "bits", "float32 MiB", "peak MiB", "bar MiB", "quantized MiB", "seconds")
    cells = [
        (
            f"{r.parameters / 1e6:.0f} M",
            str(r.bits),
            *(f"{v:.0f}" for v in (r.model_mib, r.peak_mib, r.bar_mib, r.quantized_mib, r.seconds)),
        )
        for r in rows
    ]
    return markdown(head, cells)


def _quantize(source: Path, out: Path, bits: int, answer: Connection) -> None:
    quantize_file(source, out, bits)
    answer.send(resident_mib()[1])
