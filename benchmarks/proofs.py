"""Which component on which target was proved by what, read off a bundle's manifest."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from pydantic import Field

from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.export.lower.precisions import runs_as
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.manifest import Artifact, Manifest
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_HOST: Final = 2
_DEVICE: Final = 4


class Proof(StrEnum):
    """What ran an artifact, the strongest proof first."""

    DEVICE = "device"
    VENDOR_RUNTIME = "vendor's runtime"
    VENDOR_EMULATOR = "vendor's emulator"
    INTERPRETER = "our interpreter"
    NONE = "not run"


_OF_BACKEND: Final[Mapping[BackendName, Proof]] = {
    BackendName.ONNXRUNTIME: Proof.VENDOR_RUNTIME,
    BackendName.EXECUTORCH: Proof.VENDOR_RUNTIME,
    BackendName.COREAI: Proof.VENDOR_RUNTIME,
    BackendName.LITERT: Proof.VENDOR_RUNTIME,
    BackendName.QNN_EMULATOR: Proof.VENDOR_EMULATOR,
    BackendName.EXECUTORCH_QNN_EMULATOR: Proof.VENDOR_EMULATOR,
    BackendName.MIL_INTERPRETER: Proof.INTERPRETER,
    BackendName.DEVICE: Proof.NONE,
}


class ProvedArtifact(Config):
    """One component on one target."""

    component: ComponentName
    target: str
    precision: Precision
    proof: Proof
    by_twins: bool = Field(
        description="Whether the same graph was run in its place, compiled for one system-on-chip at a time."
    )
    on_cpu: bool = Field(description="Whether the phone's CPU runs it beside the accelerator, in float32.")
    passed: bool | None = Field(description="Whether that run kept its gates; null where nothing ran.")
    how: str | None = Field(description="What was compared with what, as the build wrote it; null where nothing ran.")


class ProofTable(Config):
    """Every artifact of one bundle, or of several."""

    bundles: tuple[str, ...]
    artifacts: tuple[ProvedArtifact, ...]


def proofs(manifests: Sequence[Manifest]) -> ProofTable:
    """Read off manifests what ran each artifact; emulators and interpreters prove numbers, never a device's speed.

    Where several bundles have a component on a target, the strongest proof is taken; of equal ones, the first.
    """
    best: dict[tuple[str, str], ProvedArtifact] = {}
    strength = list(Proof)
    for manifest in manifests:
        for entry in manifest.components:
            for name, artifact in entry.artifacts.items():
                found = _proved(entry.spec.name, name, manifest.targets[name].kind, artifact)
                known = best.setdefault((entry.spec.name, name), found)
                if strength.index(found.proof) < strength.index(known.proof):
                    best[entry.spec.name, name] = found
    return ProofTable(bundles=tuple(manifest.name for manifest in manifests), artifacts=tuple(best.values()))


def _proved(component: ComponentName, name: str, kind: TargetKind, artifact: Artifact) -> ProvedArtifact:
    runs = runs_as(kind, artifact.precision)
    rungs = {rung.rung: rung for rung in artifact.rungs if rung.passed is not None}
    proof = Proof.NONE
    if _DEVICE in rungs:
        proof = Proof.DEVICE
    elif _HOST in rungs:
        ran = TARGETS[runs].twins or (runs,)
        proof = _OF_BACKEND[TARGETS[ran[0]].backend]
    decisive = rungs.get(_DEVICE, rungs.get(_HOST)) if proof is not Proof.NONE else None
    return ProvedArtifact(
        component=component,
        target=name,
        precision=artifact.precision,
        proof=proof,
        by_twins=bool(TARGETS[runs].twins) and proof not in {Proof.NONE, Proof.DEVICE},
        on_cpu=runs != kind,
        passed=decisive.passed if decisive else None,
        how=decisive.how if decisive else None,
    )


def proof_lines(table: ProofTable) -> str:
    """Return the table in Markdown, a row a target and a column a component, and what twins prove of which artifact."""
    components = list(dict.fromkeys(made.component for made in table.artifacts))
    targets = list(dict.fromkeys(made.target for made in table.artifacts))
    cells = {(made.target, made.component): made for made in table.artifacts}
    rows = [
        (f"`{target}`", *(_cell(cells.get((target, component))) for component in components))
        for target in sorted(targets)
    ]
    twins = [f"{made.component} on `{made.target}`: {made.how}." for made in table.artifacts if made.by_twins]
    return "\n".join([markdown(("target", *components), rows), *(["", *twins] if twins else [])])


def _cell(made: ProvedArtifact | None) -> str:
    if made is None:
        return "–"
    where = " (CPU)" if made.on_cpu else " (its twins)" if made.by_twins else ""
    missed = ", gate missed" if made.passed is False else ""
    return f"{made.precision}: {made.proof}{where}{missed}"
