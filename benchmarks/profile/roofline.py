"""The machine's peak in matrix products, and where a network's time goes beyond it."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper
from pydantic import Field

from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.benchmarks.profile.results import NetworkProfile, Peaks
from pocketcrafter.runtime.backends.onnxruntime import open_session, run_options
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.config import Config

_SIDE: Final = 1024
_RUNS: Final = 9


_Matrix = np.ndarray[tuple[int, ...], np.dtype[Any]]

_INT8: Final = frozenset({Precision.INT8, Precision.W8A8_DYNAMIC, Precision.A8W4_DYNAMIC})
"""Precisions whose products are INT8's."""

_MOST_OPS: Final = 4
"""Kinds of operators without MACs that are named; the others stand together."""


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


class TimeShare(Config):
    """A part of a run's time."""

    what: str
    ms: float = Field(description="Below zero only for time between operators, where the engine's clocks overlap.")
    share: float = Field(description="Of the whole run.")


def roof_of(network: NetworkProfile, peaks: Peaks) -> float:
    """Return the GMAC/s that this machine's matrix products reach in the network's arithmetic."""
    return peaks.int8_gmacs if network.precision in _INT8 else peaks.fp32_gmacs


def where_time_goes(network: NetworkProfile, peaks: Peaks) -> list[TimeShare]:
    """Split a run's time into what its MACs need at the roof and everything else.

    Parameters
    ----------
    network
        With times.
    peaks
        Of the same machine and number of threads.

    Returns
    -------
    list of TimeShare
        First the time of all MACs at the roof; then, the dearest first, what each kind of layer takes on top of that,
        operators without MACs by what they are, and what passes between operators. They sum up to the whole run. Where
        the MACs are known of the network alone, its operators stand together. Empty for a network that was not timed.
    """
    if network.total_ms is None or network.timed_ms is None:
        return []
    roof, above, without = roof_of(network, peaks), defaultdict[LayerKind, float](float), defaultdict[str, float](float)
    at_roof = min(network.timed_ms, network.undivided_macs / roof / 1e6)
    for op in [] if network.undivided_macs else network.ops:
        if op.ms is None:
            continue
        if op.macs:
            ideal = min(op.ms, op.macs / roof / 1e6)
            at_roof += ideal
            above[op.kind] += op.ms - ideal
        else:
            without[op.op] += op.ms
    ranked = sorted(without.items(), key=lambda pair: -pair[1])
    parts = [("operators: slower than the roof, or without MACs", network.timed_ms - at_roof)]
    parts = parts if network.undivided_macs else []
    parts += [(f"{kind.value}: slower than the roof", ms) for kind, ms in above.items()]
    parts += [(f"{op} (no MACs)", ms) for op, ms in ranked[:_MOST_OPS]]
    if others := sum(ms for _, ms in ranked[_MOST_OPS:]):
        parts.append(("other operators without MACs", others))
    parts.append(("between operators", network.total_ms - network.timed_ms))
    parts.sort(key=lambda pair: -pair[1])
    return [
        TimeShare(what=what, ms=ms, share=ms / network.total_ms if network.total_ms else 0.0)
        for what, ms in [("all MACs at the roof", at_roof), *parts]
    ]
