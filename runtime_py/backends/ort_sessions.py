"""ONNX Runtime sessions: exact integers on every processor where a model runs, nothing of this processor in a file."""

import functools
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

_PROVIDERS: Final = ["CPUExecutionProvider"]

SIGNED_WEIGHTS: Final = {
    "QAttention": (1, 7),
    "MatMulIntegerToFloat": (1, 5),
    "DynamicQuantizeMatMul": (1, 3),
    "QGemm": (3, 5),
    "MatMulInteger": (1, 3),
    "QLinearMatMul": (3, 5),
    "QLinearConv": (3, 5),
}
"""Operators that saturate, each with the places of its weights and of their zero points among its inputs."""

_EXACT_INTEGERS: Final = "session.x64quantprecision"

# MatMulInteger(x: uint8, w: int8), both inputs of the graph: ONNX, which the runtime cannot write, in 96 bytes.
_PRODUCT: Final = bytes.fromhex(
    "08083a560a180a01780a0177120179220d4d61744d756c496e74656765721201705a150a017812100a0e0802120a0a0312016d0a0312016b"
    "5a150a017712100a0e0803120a0a0312016b0a0312016e62090a017912040a02080642040a00100d"
)


@functools.cache
def saturates() -> bool:
    """Whether ONNX Runtime's products of unsigned by signed 8-bit integers are wrong on this processor.

    The kernels for AVX2, and for AVX-512 without VNNI, add two such products in 16 bits with saturation: 255 × 127
    twice is 32,767 there and not 64,770. With VNNI, on SSE and on ARM the sum has 32 bits. The processor is asked,
    as an emulator does not report its own instruction set.
    """
    session = open_session(_PRODUCT, unoptimized_options())
    product = session.run(None, {"x": np.full((8, 8), 255, np.uint8), "w": np.full((8, 8), 127, np.int8)})[0]
    return bool((product != 8 * 255 * 127).any())


def run_options(threads: int | None = None) -> ort.SessionOptions:
    """Return options of a session that runs a model: its integer products are those of every other processor.

    Where products would saturate, ONNX Runtime is told to store constant signed weights unsigned, which is exact. Not
    elsewhere: its kernels for VNNI take more than twice as long with unsigned weights. It does so as it optimizes a
    graph, so at the default level of optimization alone, and not for a model in its own format.

    Parameters
    ----------
    threads
        Threads to compute with; as many as there are cores where it is `None`.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    if saturates():
        options.add_session_config_entry(_EXACT_INTEGERS, "1")
    return options


def unoptimized_options() -> ort.SessionOptions:
    """Return options of a session that runs every node of a model as it is written, on one thread.

    Products of integers are exact only where their weights are unsigned.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options


def write_options(path: Path, level: ort.GraphOptimizationLevel) -> ort.SessionOptions:
    """Return options of a session that writes its optimized graph, which must not depend on this processor.

    Parameters
    ----------
    path
        Where the graph goes.
    level
        ``ORT_ENABLE_EXTENDED`` at most: beyond it ONNX Runtime lays memory out for this processor.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    return options


def open_session(model: bytes | Path, options: ort.SessionOptions | None = None) -> ort.InferenceSession:
    """Open a model on the CPU; with :func:`run_options` where no others are given.

    Notes
    -----
    ONNX Runtime's exceptions, which share no base class, come through as they are.
    """
    return ort.InferenceSession(model, options or run_options(), providers=_PROVIDERS)
