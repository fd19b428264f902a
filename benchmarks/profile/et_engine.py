"""ExecuTorch's event trace of a program, inside its delegates too, led back to the layers that it was exported from."""

import re
import statistics
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from pocketcrafter.benchmarks.profile.engine import Profiled, Subject
from pocketcrafter.benchmarks.profile.layers import Layer, LayerKind
from pocketcrafter.benchmarks.profile.results import OpProfile
from pocketcrafter.runtime.errors import BackendError

_EXECUTE: Final = "Execute"
_WHOLE: Final = frozenset({"DELEGATE_CALL", "Method::execute", "OPERATOR_CALL"})
_WEIGHTED: Final = re.compile(r"^(Fully Connected|Convolution|Deconvolution)\b")
_NUMBER: Final = re.compile(r" #\d+$")


def profile_executorch(subject: Subject) -> Profiled:
    """Run a program with its event tracer on.

    Raises
    ------
    BackendError
        If ExecuTorch cannot run it.
    """
    from executorch.devtools import Inspector  # noqa: PLC0415 - slow, and only this needs it
    from executorch.extension.pybindings import portable_lib  # noqa: PLC0415
    from executorch.runtime import Runtime, Verification  # noqa: PLC0415

    portable_lib._unsafe_reset_threadpool(subject.threads)
    tensors = [torch.tensor(array) for array in subject.inputs.values()]
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-profile-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensors are not recorded, on purpose: it would take their size in memory
        trace = Path(folder) / "trace.etdp"
        try:
            program = Runtime.get().load_program(
                subject.artifact.read_bytes(), verification=Verification.Minimal, enable_etdump=True
            )
            method = program.load_method("forward")
            if method is None:
                raise BackendError(f"{subject.artifact.name}: the program has no method `forward`.")
            for _ in range(subject.runs + 1):
                method.execute(tensors)
            program.write_etdump_result_to_file(str(trace), str(Path(folder) / "tensors.bin"))
            blocks = Inspector(etdump_path=str(trace)).event_blocks
        except RuntimeError as error:
            raise BackendError(f"{subject.artifact.name}: ExecuTorch cannot profile it: {error}") from error
    events = [event for block in blocks if block.name == _EXECUTE for event in block.events]
    whole = [_median(e) for e in events if e.name == "Method::execute"]
    return Profiled(
        ops=tuple(_ops(events, subject.layers)),
        total_ms=whole[0] if whole else None,
        engine="ExecuTorch's event tracer, with XNNPACK's operators",
        runs=subject.runs,
    )


def _ops(events: Sequence[Any], layers: Sequence[Layer]) -> list[OpProfile]:
    kernels = [e for e in events if e.name not in _WHOLE]
    weighted = [layer for layer in layers if layer.macs and layer.weights]
    # XNNPACK keeps the order of the graph, and names nothing: as many weighted kernels as layers are those layers.
    matched = iter(weighted) if sum(bool(_WEIGHTED.match(e.name)) for e in kernels) == len(weighted) else iter(())
    ops, last = [], ""
    for event in kernels:
        layer = next(matched, None) if _WEIGHTED.match(event.name) else None
        last = layer.name if layer else last
        ops.append(
            OpProfile(
                op=_NUMBER.sub("", event.name),
                layer=last,
                exact=layer is not None,
                kind=layer.kind if layer else LayerKind.OTHER,
                macs=layer.macs if layer else 0,
                ms=_median(event),
                inside=bool(event.is_delegated_op),
            )
        )
    return ops


def _median(event: Any) -> float:  # noqa: ANN401 - untyped package
    taken = event.perf_data.raw
    return float(statistics.median(taken[1:] or taken))
