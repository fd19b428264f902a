"""ONNX Runtime context models (EPContext) for Snapdragon's Hexagon processors: compiled by QNN, run on its emulator."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import onnx

from pocketcrafter.export.lower.measure import SLOWLY, Simulation, hold_back, measured, run_torch
from pocketcrafter.export.lower.onnx.lowering import SIMULATED, simulate
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.qnn.soc import SOC_ID_AT, SOC_IDS, check_socs, soc_of
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.runtime.backends.qnn import run_qnn
from pocketcrafter.runtime.bundle.results import Coverage, Precision
from pocketcrafter.runtime.errors import BackendError, GateError
from pocketcrafter.runtime.files import move, replacing
from pocketcrafter.runtime.targets import Soc, TargetKind

_CONTEXT: Final = "EPContext"
_BINARY: Final = "ep_cache_context"
_PAIRS: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})


class CpuFallbackError(GateError):
    """The HTP does not take an operator; it would have run on the CPU."""


@dataclass(frozen=True)
class ContextFacts:
    """What a context model says of itself."""

    soc_ids: tuple[int, ...]
    """One of each context binary."""
    subgraphs: int
    outside: tuple[str, ...]
    """Operators that the HTP did not take: type and name."""


def lower_qnn_context(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Compile an artifact of the `onnx` target and emulate it; for ``qnn-context:<soc>``.

    ``fp32`` is the model of the `onnx` target: the HTP computes no float32, and the phone's CPU runs it. Integers take
    the very QDQ model of the `onnx` target, whose float32 parts the HTP computes in float16; ``fp16`` computes all in
    it. The binaries of two runs are equal in what they compute, not in their bytes.

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
    spec, soc, source = request.spec, soc_of(target), request.source
    if source is None:
        raise TypeError(f"{target} is compiled from an artifact of another target, and the request has none")
    _, held = hold_back(request.calibration, spec, SLOWLY)
    simulation = None
    if request.precision is not Precision.FP16:
        simulation = Simulation(simulate(source.path, held, spec), SIMULATED)
    eager = run_torch(frozen(request.module(), request.keep_fp32), held, spec)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        made = Path(folder) / "made.onnx"
        subgraphs = compile_context(source.path, soc, made).subgraphs
        _, emulated = run_qnn(made, held)
        coverage = Coverage(
            macs_total=source.coverage.macs_total,
            macs_delegated=source.coverage.macs_total,
            delegated_ops=sum(n.op_type not in _PAIRS for n in onnx.load(source.path).graph.node),
            subgraphs=subgraphs,
        )
        how = f"The binary for {soc} on QNN's HTP emulator (x86, no device)"
        result = measured(out, coverage, spec, eager, simulation, emulated, how)
        move(made, out)
    # Rung 1 is the source's, on all samples held back: the emulator has time for few.
    return {target: replace(result, rung1=source.rung1, rung1_how=source.rung1_how)}


def compile_context(quantized: Path, soc: Soc, out: Path) -> ContextFacts:
    """Compile a QDQ model for one system-on-chip, in a process of its own, and check what came of it.

    Parameters
    ----------
    quantized
        The QDQ model, with static shapes.
    soc
        Which system-on-chip.
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
            run_qnn(quantized, soc_id=SOC_IDS[soc], context=temporary)
        except BackendError:
            # The model is written before ONNX Runtime finds that operators are left over: it tells which.
            if temporary.exists():
                check_context(read_context(temporary), soc, quantized)
            raise
        facts = read_context(temporary)
        check_context(facts, soc, quantized)
    return facts


def read_context(path: Path) -> ContextFacts:
    """Read a context model with its binary inside.

    Raises
    ------
    BackendError
        If there is nothing in it, or a binary is too short to have a header.
    """
    nodes = onnx.load(path).graph.node
    contexts = [node for node in nodes if node.op_type == _CONTEXT]
    # The first part's binary holds all parts of a graph that was cut.
    binaries = [a.s for node in contexts for a in node.attribute if a.name == _BINARY]
    if not nodes or len(binaries) < bool(contexts) or any(len(binary) < SOC_ID_AT.stop for binary in binaries):
        raise BackendError(f"{path}: no whole context binary in it; compile it again.")
    return ContextFacts(
        soc_ids=tuple(int.from_bytes(binary[SOC_ID_AT], "little") for binary in binaries),
        subgraphs=len(contexts),
        outside=tuple(f"{node.op_type} {node.name}" for node in nodes if node.op_type != _CONTEXT),
    )


def check_context(facts: ContextFacts, soc: Soc, model: Path) -> None:
    """Refuse a context model that is not entirely one for a system-on-chip.

    Parameters
    ----------
    facts
        What the context model contains.
    soc
        The system-on-chip that was asked for.
    model
        Named in the message.

    Raises
    ------
    CpuFallbackError
        If operators are left outside the context binary.
    WrongSocError
        If a binary was compiled for another system-on-chip.
    """
    if facts.outside:
        raise CpuFallbackError(
            f"{model.name}: {len(facts.outside)} operators would run on the CPU instead of the HTP of {soc}, and "
            f"would cut the network into {facts.subgraphs} parts: {', '.join(facts.outside)}. Write them otherwise."
        )
    check_socs(facts.soc_ids, soc, model)
