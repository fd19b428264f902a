"""ONNX Runtime context models (EPContext) for Snapdragon's Hexagon processors: compiled by QNN, run on its emulator."""

import hashlib
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import onnx

from pocketcrafter.export.lower.measure import SLOWLY, Simulation, hold_back, measured, run_torch
from pocketcrafter.export.lower.onnx.simulation import SIMULATED, simulate
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.qnn.context_model import ContextFacts, check_context, read_context, soc_of
from pocketcrafter.export.lower.qnn.functions import lower_functions
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.runtime.backends.qnn import run_qnn
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.files import move, replacing
from pocketcrafter.runtime.targets import HTP_ARCHITECTURES, SOC_IDS, TARGETS, Soc, TargetKind

_HOW: Final = "The binary for {socs}, of the graph with SHA-256 {graph}, on QNN's HTP emulator (x86, no device)"
_TWINS_HOW: Final = (
    "No emulator runs one binary for several systems-on-chip. The graph that it was compiled from (SHA-256 {graph}) "
    "was compiled for {socs} alone, and each binary run on QNN's HTP emulator (x86, no device); "
    "the worst of each output"
)
_PAIRS: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})


def lower_qnn_context(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Compile an artifact of the `onnx` target and emulate it; for ``qnn-context:<soc>`` and ``qnn-context:multi``.

    ``fp32`` is the model of the `onnx` target: the HTP computes no float32, and the phone's CPU runs it. Integers take
    the very QDQ model of the `onnx` target, whose float32 parts the HTP computes in float16; ``fp16`` computes all in
    it. The binaries of two runs are equal in what they compute, not in their bytes. Further functions become context
    models of their own, over one binary.

    One file for several systems-on-chip shares their weights. The emulator does not run it: for each of them the same
    graph is compiled alone and emulated, and the worst of these is what is recorded. The graph's hash, which is in the
    records of single systems-on-chip too, tells which binaries belong together.

    Raises
    ------
    CpuFallbackError
        If the HTP does not take an operator, which it names.
    WrongSocError
        If the binary is for another system-on-chip.
    BackendError
        If QNN fails.
    """
    target, out = request.only
    spec, row, source = request.spec, TARGETS[target], request.source
    if source is None:
        raise TypeError(f"{target} is compiled from an artifact of another target, and the request has none")
    if spec.functions:
        return {target: lower_functions(request, source, soc_of(target), out)}
    _, held = hold_back(request.calibration, spec, SLOWLY)
    simulation = None
    if request.precision is not Precision.FP16:
        simulation = Simulation(simulate(source.path, held, spec), SIMULATED)
    eager = run_torch(frozen(request.module(), request.keep_fp32), held, spec)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        made = Path(folder) / "made.onnx"
        results = []
        for soc in row.socs:
            subgraphs = compile_context(source.path, (soc,), made).subgraphs
            results.append(run_qnn(made, held)[1])
            request.progress(len(results), len(row.socs))
        if row.twins:
            subgraphs = compile_context(source.path, row.socs, made).subgraphs
        coverage = Coverage(
            macs_total=source.coverage.macs_total,
            macs_delegated=source.coverage.macs_total,
            delegated_ops=sum(n.op_type not in _PAIRS for n in onnx.load(source.path).graph.node),
            subgraphs=subgraphs,
        )
        graph = hashlib.sha256(source.path.read_bytes()).hexdigest()
        how = (_TWINS_HOW if row.twins else _HOW).format(socs=", ".join(row.socs), graph=graph)
        found = [measured(out, coverage, spec, held, eager, simulation, emulated, how) for emulated in results]
        result = replace(found[0], rung2=_worst([f.rung2 for f in found]), whole=_worst([f.whole for f in found]))
        move(made, out)
    # Rung 1 is the source's, on all samples held back: the emulator has time for few.
    return {target: replace(result, rung1=source.rung1, rung1_how=source.rung1_how)}


def _worst(found: Sequence[Sequence[Fidelity]]) -> tuple[Fidelity, ...]:
    def ratio(fidelity: Fidelity) -> float:
        return math.inf if fidelity.sqnr_db is None else fidelity.sqnr_db

    return tuple(min(of_output, key=ratio) for of_output in zip(*found, strict=True))


def compile_context(quantized: Path, socs: Sequence[Soc], out: Path) -> ContextFacts:
    """Compile a QDQ model, in a process of its own, and check what came of it.

    Parameters
    ----------
    quantized
        The QDQ model, with static shapes.
    socs
        For which systems-on-chip: the binary is for all of them, and holds their weights once.
    out
        Where the context model goes, binary inside; nothing is left there when this raises.

    Raises
    ------
    CpuFallbackError
        If the HTP does not take an operator, which it names.
    WrongSocError
        If the binary is for another system-on-chip.
    BackendError
        If QNN is missing or fails otherwise.
    """
    with replacing(out) as temporary:
        try:
            run_qnn(quantized, socs={SOC_IDS[soc]: HTP_ARCHITECTURES[soc] for soc in socs}, context=temporary)
        except BackendError:
            # The model is written before ONNX Runtime finds that operators are left over: it tells which.
            if temporary.exists():
                check_context(read_context(temporary), socs, quantized)
            raise
        facts = read_context(temporary)
        check_context(facts, socs, quantized)
    return facts
