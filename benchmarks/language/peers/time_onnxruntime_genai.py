"""Times ONNX Runtime GenAI on a folder that its builder made: time_onnxruntime_genai.py FOLDER PROMPT DECODE THREADS.

Prints tokens for each second of processor time, which other work on the machine hardly changes.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

genai: Any = importlib.import_module("onnxruntime_genai")
folder, prompt, decode, threads = sys.argv[1], *(int(a) for a in sys.argv[2:])
config = genai.Config(folder)
config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
model = genai.Model(config)


def peak_mib() -> float:
    """Return the most memory that was resident since this program began; `resource` counts the one before it too."""
    told = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(told.split()[1]) / 1024


def rates(first: int) -> dict[str, float]:
    """Read a prompt and write some words."""
    asked = genai.GeneratorParams(model)
    asked.set_search_options(max_length=prompt + decode + 2, min_length=prompt + decode + 2, do_sample=False)
    generator = genai.Generator(model, asked)
    begun = time.process_time()
    generator.append_tokens([first + 7 * index for index in range(prompt)])
    generator.get_logits()
    # Chooses a word of those logits; only the calls after it run the model.
    generator.generate_next_token()
    read = time.process_time()
    for _step in range(decode):
        generator.generate_next_token()
    return {"prefill": prompt / (read - begun), "decode": decode / (time.process_time() - read)}


rates(1000)
found = rates(3000)
sys.stdout.write(json.dumps({**found, "peak_mib": peak_mib()}) + "\n")
