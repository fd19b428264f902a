"""Times a bundle's language model in a process of its own: python -m … BUNDLE TARGET PROMPT DECODE THREADS.

Prints tokens for each second of processor time, which other work on the machine hardly changes, and the most memory.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.embedding import TABLE, EmbeddingTable
from pocketcrafter.runtime.language import PREFILL, Rotary, Text

_LANGUAGE = "language"


def rates(bundle: Path, target: str, prompt: int, decode: int, threads: int) -> dict[str, float]:
    """Return the tokens for each second of prefill and decode, in the second of two passes.

    Parameters
    ----------
    bundle, target
        Whose language model, and which artifact.
    prompt, decode
        How many words are read at once, and one after the other behind them.
    threads
        Threads of an operator.
    """
    opened = Bundle.open(bundle)
    step, prefill = (opened.target_session(_LANGUAGE, threads, target, function) for function in (None, PREFILL))
    spec, table = opened.manifest.entry(_LANGUAGE).spec, EmbeddingTable.open(opened.file(TABLE))
    width = next(tensor.shape[1] for tensor in spec.inputs if tensor.name == "cosines")
    made: dict[str, float] = {}
    for first in (1000, 3000):
        # Rotations by no angle take as long as any.
        text = Text(step, prefill, spec, Rotary(np.zeros(width // 2, np.float32)))
        vectors = table.rows([first + 7 * index for index in range(prompt)])
        begun = time.process_time()
        read = text.read(vectors)
        between = time.process_time()
        for _ in range(decode):
            read = text.read(table.rows([int(read.logits.argmax())]))
        made = {"prefill": prompt / (between - begun), "decode": decode / (time.process_time() - between)}
    return made


def peak_mib() -> float:
    """Return the most memory that was resident since this program began; `resource` counts the one before it too."""
    told = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(told.split()[1]) / 1024


if __name__ == "__main__":
    bundle, target, *sizes = sys.argv[1:]
    found = rates(Path(bundle), target, *map(int, sizes))
    sys.stdout.write(json.dumps({**found, "peak_mib": peak_mib()}) + "\n")
