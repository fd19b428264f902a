"""What it costs to know, each time, that a large artifact is what was built."""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pydantic import Field

from pocketcrafter.benchmarks.common.machine import Machine, this_machine
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.bundle.integrity import HASHES, SETTLED_NS, KnownHashes
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.pocket import Pocket

_WIDTH: Final = 1024
_LAYER_MIB: Final = _WIDTH * _WIDTH * 4 >> 20
_SPEC: Final = ComponentSpec(
    name=Pocket.RESTORE,
    role=Role.EDIT,
    inputs=(TensorSpec(name="x", shape=(1, _WIDTH), semantics="a row"),),
    outputs=(TensorSpec(name="y", shape=(1, _WIDTH), semantics="a row"),),
)
MOST_SHARE: Final = 0.05
"""What a later check may take of the time of opening."""


class OpeningReport(Config):
    """Medians, with the file in the page cache; the network is a chain of products in float32."""

    artifact_bytes: int
    runs: int
    machine: Machine
    open_ms: float = Field(description="ONNX Runtime opens the artifact; nothing is checked.")
    first_check_ms: float = Field(description="The check of a file that this user has not opened before: all is read.")
    later_check_ms: float = Field(description="The check in a later process: the file's stamp is looked up.")

    @property
    def later_share(self) -> float:
        """Time of a later check over the time of opening."""
        return self.later_check_ms / self.open_ms


def measure_opening(mib: int, repeats: int) -> OpeningReport:
    """Open and check a file of ``mib`` MiB in a temporary folder, ``repeats`` times each, in turn."""
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-opening-") as name:
        return _measure(Path(name), mib, repeats)


def _measure(folder: Path, mib: int, repeats: int) -> OpeningReport:
    artifact = folder / "chain.onnx"
    _write_chain(artifact, max(1, mib // _LAYER_MIB))
    time.sleep(SETTLED_NS / 1e9 + 0.1)
    opened, first, later = (list[float]() for _ in range(3))
    for run in range(repeats):
        store = folder / f"{run}-{HASHES}"
        opened.append(_ms(lambda: OnnxRuntimeBackend().open(artifact, _SPEC, 1)))
        for times in (first, later):
            fresh = KnownHashes(store)
            times.append(_ms(partial(fresh.sha256, artifact)))
    return OpeningReport(
        artifact_bytes=artifact.stat().st_size,
        runs=repeats,
        machine=this_machine(),
        open_ms=statistics.median(opened),
        first_check_ms=statistics.median(first),
        later_check_ms=statistics.median(later),
    )


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def _write_chain(path: Path, layers: int) -> None:
    """Write a model of so many products, each with weights of its own."""
    rng = np.random.default_rng(0)
    names = ["x", *(f"h{i}" for i in range(1, layers)), "y"]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(layers)]
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.03, (_WIDTH, _WIDTH)).astype(np.float32), f"w{i}")
        for i in range(layers)
    ]
    ends = [
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in tensors]
        for tensors in (_SPEC.inputs, _SPEC.outputs)
    ]
    graph = helper.make_graph(nodes, "chain", *ends, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def opening_text(report: OpeningReport) -> str:
    """Return the report as text."""
    lines = [
        f"{report.artifact_bytes / (1 << 20):.0f} MiB, median of {report.runs}; {report.machine.label}",
        f"opening alone            {report.open_ms:9.2f} ms",
    ]
    for what, ms in (
        ("first check, all is read", report.first_check_ms),
        ("later checks, by stamp", report.later_check_ms),
    ):
        lines.append(f"{what:<24} {ms:9.2f} ms  {ms / report.open_ms:.2%} of opening")
    return "\n".join(lines)
