"""What this machine's matrix units can do at most: the roof under which a layer's speed is read."""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper
from pydantic import Field

from pocketcrafter.runtime.backends.ort_sessions import open_session, run_options
from pocketcrafter.runtime.config import Config

_SIDE: Final = 1024
_RUNS: Final = 9


_Matrix = np.ndarray[tuple[int, ...], np.dtype[Any]]


class Peaks(Config):
    """Billions of multiply-accumulates a second in a square matrix product of ONNX Runtime, median of a few."""

    side: int = Field(description="Rows and columns of both matrices.")
    threads: int
    fp32_gmacs: float = Field(gt=0)
    int8_gmacs: float = Field(gt=0, description="Unsigned times signed, into 32 bits.")


def measure_peaks(threads: int) -> Peaks:
    """Measure this machine; takes a second.

    Parameters
    ----------
    threads
        Threads to compute with.
    """
    rng = np.random.default_rng(0)
    shape = (_SIDE, _SIDE)
    floats = rng.random((2, *shape), dtype=np.float32)
    left = rng.integers(0, 256, shape, dtype=np.uint8)
    right = rng.integers(-128, 128, shape, dtype=np.int8)
    return Peaks(
        side=_SIDE,
        threads=threads,
        fp32_gmacs=_gmacs("MatMul", (TensorProto.FLOAT, TensorProto.FLOAT), floats[0], floats[1], threads),
        int8_gmacs=_gmacs("MatMulInteger", (TensorProto.INT8, TensorProto.INT32), left, right, threads),
    )


def _gmacs(op: str, types: tuple[int, int], left: _Matrix, right: _Matrix, threads: int) -> float:
    """Time a product whose right matrix and result have the ONNX types given."""
    right_type, result_type = types
    left_type = helper.np_dtype_to_tensor_dtype(left.dtype)
    # The right matrix is a constant, as weights are, so that it is packed once.
    constant = helper.make_tensor("right", right_type, right.shape, right.tobytes(), raw=True)
    graph = helper.make_graph(
        [helper.make_node(op, ["left", "right"], ["product"])],
        "peak",
        [helper.make_tensor_value_info("left", left_type, left.shape)],
        [helper.make_tensor_value_info("product", result_type, left.shape)],
        [constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = open_session(model.SerializeToString(), run_options(threads))
    seconds = _median(lambda: session.run(None, {"left": left}))
    return _SIDE**3 / seconds / 1e9


def _median(run: Callable[[], object]) -> float:
    run()
    taken = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
