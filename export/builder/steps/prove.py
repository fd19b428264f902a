"""Holds one lowered component against its gates: fidelity, coverage, fallbacks, and its goldens through the runtime."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pocketcrafter.export.builder.settings import (
    PROOF,
    RECORD,
    LoweringRecord,
    ProveSettings,
    artifact_path,
    golden_files,
    lowered_to,
    read_spec,
)
from pocketcrafter.export.ladder import first_rungs, misses, with_permissions
from pocketcrafter.export.lower.precisions import ON_THE_CPU, runs_as
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.manifest import Artifact
from pocketcrafter.runtime.bundle.reader import open_artifact
from pocketcrafter.runtime.bundle.results import Fidelity, Rung, RungNumber
from pocketcrafter.runtime.bundle.verify import compare_golden
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import ConfigError, GateError, NotRunHereError
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.targets import TARGETS

_THREADS: Final = 1


def run(inputs: Mapping[str, Path], settings: ProveSettings, out: Path, progress: Progress) -> None:
    """Write `proof.json`, an :class:`Artifact`.

    Inputs: ``lowered`` and ``examples``, the directories that those steps wrote.

    Parameters
    ----------
    inputs
        Paths by input name, as the stage declares them.
    settings
        The settings of the stage.
    out
        Empty directory for the result.
    progress
        Called with steps done and steps in all.

    Raises
    ------
    GateError
        With every gate that was missed.
    ConfigError
        If the recipe names an output that the component does not have.
    """
    lowered = lowered_to(inputs["lowered"], settings.target, settings.precision)
    record = LoweringRecord.model_validate_json((lowered / RECORD).read_bytes())
    spec = read_spec(inputs["examples"])
    if unknown := set(settings.pictures) - {output.name for output in spec.outputs}:
        raise ConfigError(f"components.{settings.component}.pictures names no output: {', '.join(sorted(unknown))}.")
    runner = TARGETS[runs_as(settings.target, settings.precision)].backend
    goldens: list[Fidelity] | None = None
    if runner is not BackendName.DEVICE:
        # Of what runs only where it was compiled the lowering has measured rung 2, and a device runs the goldens.
        with suppress(NotRunHereError):
            goldens = _goldens(inputs["examples"], lowered / record.artifact, record, settings, spec, progress)
    proof = proof_of(record, goldens, settings)
    (out / PROOF).write_text(proof.model_dump_json(indent=1), encoding="utf-8")


def _goldens(
    examples: Path,
    artifact: Path,
    record: LoweringRecord,
    settings: ProveSettings,
    spec: ComponentSpec,
    progress: Progress,
) -> list[Fidelity]:
    backend = usable_backend(TARGETS[runs_as(settings.target, settings.precision)].backend)
    found: list[Fidelity] = []
    for function in (None, *(known.name for known in spec.functions)):
        session = open_artifact(backend, artifact, spec, record.functions, _THREADS, function)
        for index in range(settings.goldens):
            progress(index, settings.goldens)
            made, expected = (examples / name for name in golden_files(index, function))
            found += compare_golden(made, expected, spec, session, settings.pictures, function)
    return found


def proof_of(record: LoweringRecord, goldens: Sequence[Fidelity] | None, settings: ProveSettings) -> Artifact:
    """Return what the manifest says of an artifact.

    Where nothing but a device runs it, the goldens are not judged, and rung 2 only where the lowering ran the target's
    twins in its place; otherwise rung 2 says that it was not run, and why.

    Parameters
    ----------
    record
        What the lowering measured.
    goldens
        The artifact against the goldens; `None` where it cannot be opened here.
    settings
        Gates, target, precision and component.

    Raises
    ------
    GateError
        With every gate that was missed.
    """
    gates, quantized = settings.gates, settings.precision.quantized
    runner = runs_as(settings.target, settings.precision)
    here = TARGETS[runner].backend is not BackendName.DEVICE
    ran = here or bool(TARGETS[runner].twins)
    coverage = with_permissions(record.coverage, gates.fallbacks)
    how = record.rung2_how if runner == settings.target else f"{ON_THE_CPU}{record.rung2_how}"
    rungs = first_rungs(gates, (record.rung1, record.rung1_how), (record.rung2, how), quantized=quantized, ran=ran)
    if missed := misses(gates, rungs, goldens if here else None, coverage, quantized=quantized, ran=ran):
        lines = [f"{settings.component} for {settings.target} missed its gates:", *(f"  {m}" for m in missed)]
        raise GateError("\n".join(lines))
    return Artifact(
        path=artifact_path(settings.component, settings.target),
        functions=record.functions,
        precision=settings.precision,
        coverage=coverage,
        rungs=(
            _open_rung(0, settings),
            *rungs,
            _open_rung(3, settings),
            Rung(rung=4, passed=None, how="no device is part of the build", gates=(gates.rung2,)),
        ),
        golden_gate=gates.golden(quantized=quantized),
        goldens=tuple(goldens or ()),
    )


def _open_rung(number: RungNumber, settings: ProveSettings) -> Rung:
    return Rung(rung=number, passed=None, how=settings.not_run[number], gates=settings.ladder.get(number, ()))
