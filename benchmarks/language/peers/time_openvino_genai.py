"""Times OpenVINO GenAI on a GGUF file: python time_openvino_genai.py MODEL.gguf PROMPT DECODE THREADS.

Prints tokens for each second of processor time, which other work on the machine hardly changes.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

ov: Any = importlib.import_module("openvino")
genai: Any = importlib.import_module("openvino_genai")
model, prompt, decode, threads = sys.argv[1], *(int(a) for a in sys.argv[2:])
pipeline = genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)


def peak_mib() -> float:
    """Return the most memory that was resident since this program began; `resource` counts the one before it too."""
    told = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(told.split()[1]) / 1024


def seconds(first: int, count: int) -> float:
    """Return what a prompt and so many words take; another first word keeps prefixes from being remembered."""
    ids = ov.Tensor([[first + 7 * index for index in range(prompt)]])
    inputs = genai.TokenizedInputs(ids, ov.Tensor([[1] * prompt]))
    asked = genai.GenerationConfig(max_new_tokens=count, min_new_tokens=count, ignore_eos=True, do_sample=False)
    begun = time.process_time()
    pipeline.generate(inputs, asked)
    return time.process_time() - begun


seconds(1000, 2)
read, both = seconds(3000, 1), seconds(5000, decode + 1)
sys.stdout.write(
    json.dumps({"prefill": prompt / read, "decode": decode / max(both - read, 1e-9), "peak_mib": peak_mib()}) + "\n"
)
