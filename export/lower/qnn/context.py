"""ONNX Runtime context models (EPContext) for Snapdragon's Hexagon processors: compiled by QNN, run on its emulator."""

import hashlib
import io
import math
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import onnx

from pocketcrafter.export.lower.measure import SLOWLY, Simulation, hold_back, measured, run_torch
from pocketcrafter.export.lower.onnx.lowering import SIMULATED, simulate
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.qnn.soc import HTP_ARCHITECTURES, SOC_ID_AT, SOC_IDS, check_socs
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.runtime.backends.qnn import run_qnn
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision
from pocketcrafter.runtime.errors import BackendError, GateError
from pocketcrafter.runtime.files import move, replacing
from pocketcrafter.runtime.targets import TARGETS, Soc, TargetKind

_HOW: Final = "The binary for {soc} on QNN's HTP emulator (x86, no device)"
_ZIP: Final = b"PK"
_PART: Final = "backend.metadata"
"""What the parts of a binary for several systems-on-chip are called, one for each."""
_CONTEXT: Final = "EPContext"
_BINARY: Final = "ep_cache_context"
_PAIRS: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})


class CpuFallbackError(GateError):
    """The HTP does not take an operator; it would have run on the CPU."""


@dataclass(frozen=True)
class ContextFacts:
    """What a context model says of itself."""

    soc_ids: tuple[int, ...]
    """Of each context binary; several where one is for several systems-on-chip."""
    subgraphs: int
    outside: tuple[str, ...]
    """Operators that the HTP did not take: type and name."""


def lower_qnn_context(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Compile an artifact of the `onnx` target and emulate it; for ``qnn-context:<soc>`` and ``qnn-context:multi``.

    ``fp32`` is the model of the `onnx` target: the HTP computes no float32, and the phone's CPU runs it. Integers take
    the very QDQ model of the `onnx` target, whose float32 parts the HTP computes in float16; ``fp16`` computes all in
    it. The binaries of two runs are equal in what they compute, not in their bytes.

    One file for several systems-on-chip shares their weights. The emulator does not run it: for each of them the same
    graph is compiled alone and emulated, and the worst of these is what is recorded, with the graph's hash.

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
        how = _twins_how(source.path, row.socs) if row.twins else _HOW.format(soc=row.socs[0])
        found = [measured(out, coverage, spec, eager, simulation, emulated, how) for emulated in results]
        result = replace(found[0], rung2=_worst([f.rung2 for f in found]), whole=_worst([f.whole for f in found]))
        move(made, out)
    # Rung 1 is the source's, on all samples held back: the emulator has time for few.
    return {target: replace(result, rung1=source.rung1, rung1_how=source.rung1_how)}


def _twins_how(graph: Path, socs: Sequence[Soc]) -> str:
    names, digest = ", ".join(socs), hashlib.sha256(graph.read_bytes()).hexdigest()
    return (
        "No emulator runs one binary for several systems-on-chip. The graph that it was compiled from (SHA-256 "
        f"{digest}) was compiled for {names} alone, and each binary run on QNN's HTP emulator (x86, no device); the "
        "worst of each output"
    )


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
        soc_ids=tuple(number for binary in binaries for number in _soc_ids(binary)),
        subgraphs=len(contexts),
        outside=tuple(f"{node.op_type} {node.name}" for node in nodes if node.op_type != _CONTEXT),
    )


def _soc_ids(binary: bytes) -> Iterator[int]:
    """Yield the numbers of the systems-on-chip that a binary is for: one for several is a ZIP of theirs."""
    if not binary.startswith(_ZIP):
        yield int.from_bytes(binary[SOC_ID_AT], "little")
        return
    try:
        with zipfile.ZipFile(io.BytesIO(binary)) as parts:
            for part in parts.infolist():
                if part.filename.startswith(_PART):
                    with parts.open(part) as content:
                        yield int.from_bytes(content.read(SOC_ID_AT.stop)[SOC_ID_AT], "little")
    except zipfile.BadZipFile as error:
        raise BackendError(
            f"No whole context binary for several systems-on-chip ({error}); compile it again."
        ) from error


def check_context(facts: ContextFacts, socs: Sequence[Soc], model: Path) -> None:
    """Refuse a context model that is not entirely one for the systems-on-chip that were asked for.

    Parameters
    ----------
    facts
        What the context model contains.
    socs
        The systems-on-chip that were asked for.
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
        names = ", ".join(socs)
        raise CpuFallbackError(
            f"{model.name}: {len(facts.outside)} operators would run on the CPU instead of the HTP of {names}, "
            f"and would cut the network into {facts.subgraphs} parts: {', '.join(facts.outside)}. Write them otherwise."
        )
    check_socs(facts.soc_ids, socs, model)
