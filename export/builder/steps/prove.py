"""Holds one lowered component against its gates: fidelity, coverage, fallbacks, and its goldens through the runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.export.builder.settings import LoweringRecord, ProveSettings
from pocketcrafter.export.builder.stage import Progress
from pocketcrafter.export.builder.steps.names import PROOF, RECORD, artifact_path, lowered_to
from pocketcrafter.export.precisions import ON_THE_CPU, runs_as
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.manifest import Artifact
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision, RungResult
from pocketcrafter.runtime.bundle.verify import compare_golden
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.pocket import POCKET_SPECS
from pocketcrafter.runtime.targets import TARGETS

_THREADS: Final = 1


def run(inputs: Mapping[str, Path], settings: ProveSettings, out: Path, progress: Progress) -> None:
    """Write `proof.json`, an :class:`Artifact`.

    Inputs: ``lowered`` and ``examples``, the directories that those steps wrote.

    Raises
    ------
    GateError
        With every gate that was missed.
    """
    lowered = lowered_to(inputs["lowered"], settings.target, settings.precision)
    record = LoweringRecord.model_validate_json((lowered / RECORD).read_bytes())
    spec = POCKET_SPECS[settings.component]
    goldens: list[Fidelity] = []
    runner = TARGETS[runs_as(settings.target, settings.precision)].backend
    if runner is BackendName.DEVICE:
        _write(judge(record, goldens, settings), out)
        return
    backend = usable_backend(runner)
    session = backend.open(lowered / record.artifact, spec, _THREADS)
    pairs = [(p, p.with_name(p.name.replace("inputs", "outputs"))) for p in inputs["examples"].glob("inputs_*.npz")]
    for done, pair in enumerate(sorted(pairs)):
        progress(done, len(pairs))
        goldens += compare_golden(*pair, spec, session, settings.pictures)
    _write(judge(record, goldens, settings), out)


def _write(artifact: Artifact, out: Path) -> None:
    (out / PROOF).write_text(artifact.model_dump_json(indent=1), encoding="utf-8")


def judge(record: LoweringRecord, goldens: Sequence[Fidelity], settings: ProveSettings) -> Artifact:
    """Return what the manifest says of an artifact.

    Where nothing but a device runs it, rung 2 and the goldens are not judged; rung 2 says that it was not run, and why.

    Raises
    ------
    GateError
        With every gate that was missed.
    """
    quantized = settings.precision not in {Precision.FP32, Precision.FP16}
    ran = TARGETS[runs_as(settings.target, settings.precision)].backend is not BackendName.DEVICE
    golden_gate_db = settings.rung1_sqnr_db if quantized else settings.rung2_sqnr_db
    coverage = _with_permissions(record.coverage, settings.fallbacks)
    missed = [
        *(_below("rung 1 (fake-quantized)", record.rung1, settings.rung1_sqnr_db) if quantized else []),
        *(_below("rung 2 (host artifact)", record.rung2, settings.rung2_sqnr_db) if ran else []),
        *(_below("goldens", goldens, golden_gate_db) if ran else []),
        *_dim_pictures(goldens, settings.rung1_psnr_db),
        *_uncovered(coverage, settings.coverage),
    ]
    if missed:
        raise GateError("\n".join([f"{settings.component} for {settings.target} missed its gates:", *missed]))
    return Artifact(
        path=artifact_path(settings.component, settings.target),
        functions=record.functions,
        precision=settings.precision,
        coverage=coverage,
        rungs=_rungs(record, settings, quantized=quantized, ran=ran),
        golden_sqnr_db=golden_gate_db,
        goldens=tuple(goldens),
    )


def _rungs(record: LoweringRecord, settings: ProveSettings, *, quantized: bool, ran: bool) -> tuple[RungResult, ...]:
    gate1, gate2 = f"SQNR >= {settings.rung1_sqnr_db:g} dB", f"SQNR >= {settings.rung2_sqnr_db:g} dB"
    rung1 = RungResult(
        rung=1,
        passed=True if quantized else None,
        how=record.rung1_how if quantized else "not quantized",
        gate=gate1,
        fidelity=record.rung1 if quantized else (),
    )
    own = runs_as(settings.target, settings.precision) == settings.target
    how = record.rung2_how if own else f"{ON_THE_CPU}{record.rung2_how}"
    rung2 = RungResult(rung=2, passed=True if ran else None, how=how, gate=gate2, fidelity=record.rung2)
    return (
        RungResult(rung=0, passed=None, how="the model card has the held-out figures", gate=""),
        rung1,
        rung2,
        RungResult(rung=3, passed=None, how="whole photos are not part of the build", gate="Delta E 2000 mean <= 1.0"),
        RungResult(rung=4, passed=None, how="no device is part of the build", gate=gate2),
    )


def _below(what: str, fidelity: Sequence[Fidelity], gate_db: float) -> list[str]:
    if not fidelity:
        return [f"  {what}: nothing was measured"]
    low = [f for f in fidelity if not f.reaches(gate_db)]
    return [f"  {what}: `{f.output}` has {f.sqnr_db:.1f} dB, the gate is {gate_db:g} dB" for f in low]


def _dim_pictures(goldens: Sequence[Fidelity], gate_db: float) -> list[str]:
    low = [f for f in goldens if f.psnr_db is not None and f.psnr_db < gate_db]
    return [f"  picture `{f.output}` has a PSNR of {f.psnr_db:.1f} dB, the gate is {gate_db:g} dB" for f in low]


def _uncovered(coverage: Coverage, gate: float) -> list[str]:
    missed = []
    if not coverage.macs_total:
        missed.append("  coverage: no MACs were counted, so that nothing says what is delegated")
    elif coverage.share < gate:
        missed.append(f"  coverage: {coverage.share:.1%} of the MACs are delegated, the gate is {gate:.1%}")
    refused = [f for f in coverage.fallbacks if not f.allowed]
    missed += [
        f"  fallback: {f.op} ×{f.count} ({f.reason}); replace it, or allow it with `gates.fallbacks: [{f.op}]`"
        for f in refused
    ]
    return missed


def _with_permissions(coverage: Coverage, allowed: tuple[str, ...]) -> Coverage:
    """Operators that do no arithmetic of their own come allowed by the lowering; the recipe may allow more."""
    fallbacks = tuple(f.model_copy(update={"allowed": f.allowed or f.op in allowed}) for f in coverage.fallbacks)
    return coverage.model_copy(update={"fallbacks": fallbacks})
