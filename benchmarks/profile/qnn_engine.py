"""QNN's own profile of a context model on the HTP emulator, its nodes led back to the layers that they come from.

Its "cycles" are of the x86 process that emulates the HTP: they differ by a tenth from run to run, as any work here.
They tell which nodes there are after QNN's own optimization and what the emulation spends on each; they are no estimate
of a device's time, and are never turned into one.
"""

import csv
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.profile.engine import Profiled, Subject
from pocketcrafter.benchmarks.profile.layers import Layer, LayerKind
from pocketcrafter.benchmarks.profile.results import OpProfile
from pocketcrafter.runtime.backends.qnn import run_qnn
from pocketcrafter.runtime.errors import BackendError

_NODE: Final = re.compile(r"(?P<name>.*):OpId_\d+ \(cycles\)")
_ADDED: Final = re.compile(r"(_token_\d+)+(_\d+)?$")
"""What ONNX Runtime adds to the names of nodes that it makes for QNN."""

_MOST_BYTES: Final = 16 << 20


def profile_qnn(subject: Subject) -> Profiled:
    """Run a context model once with QNN's detailed profiling.

    Raises
    ------
    BackendError
        If QNN cannot run it, or writes no profile.
    """
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-profile-") as folder:
        written = Path(folder) / "profile.csv"
        run_qnn(subject.artifact, [subject.inputs], profile=written)
        if not written.is_file() or written.stat().st_size > _MOST_BYTES:
            raise BackendError(f"{subject.artifact.name}: QNN wrote no profile that can be read.")
        ops = tuple(_ops(written, subject.layers))
    if not ops:
        raise BackendError(f"{subject.artifact.name}: QNN's profile names no node.")
    return Profiled(
        ops=ops,
        total_ms=None,
        engine="QNN's detailed profile on the x86 HTP emulator: cycles of the emulation, no device's",
        runs=1,
    )


def _ops(written: Path, layers: Sequence[Layer]) -> Iterator[OpProfile]:
    last = ""
    with written.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            told = _NODE.fullmatch(row.get("Event Identifier") or "")
            count = row.get("Time") or ""
            if row.get("Unit of Measurement") != "CYCLES" or told is None or not count.isdecimal():
                continue
            name = told["name"]
            layer = _layer_of(name, layers)
            last = layer.name if layer else last
            yield OpProfile(
                op=name[:200],
                layer=last,
                exact=layer is not None,
                kind=layer.kind if layer else LayerKind.OTHER,
                ms=None,
                cycles=int(count),
                macs=layer.macs if layer else 0,
                inside=True,
            )


def _layer_of(name: str, layers: Sequence[Layer]) -> Layer | None:
    """Find a node's layer by the name that the ONNX exporter took from the torch graph."""
    plain = _ADDED.sub("", name).removeprefix("node_")
    return next((layer for layer in layers if layer.node == plain), None)
