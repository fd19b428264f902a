"""What a bundle's manifest comes to in the report: a verdict for each target, the ladder, what fell back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pocketcrafter.runtime.bundle.gates import Metric
from pocketcrafter.runtime.bundle.manifest import Artifact, Manifest
from pocketcrafter.runtime.bundle.results import Fallback, Fidelity, Precision, Rung

RUNGS: Final[Mapping[int, str]] = {
    0: "student",
    1: "fake-quantized",
    2: "host artifact",
    3: "whole photos",
    4: "device",
}
"""What each rung of the parity ladder is about."""


class State(StrEnum):
    """How far something is proved."""

    PASSED = "passed"
    PARTLY = "passed where run"
    NOT_RUN = "not run"
    FAILED = "failed"
    NOT_NEEDED = "not quantized"


@dataclass(frozen=True)
class Step:
    """One rung for one component on one target."""

    rung: int
    state: State
    figure: str
    gate: str
    how: str


@dataclass(frozen=True)
class ComponentFacts:
    """One component on one target."""

    component: str
    precision: str
    mib: float
    ladder: tuple[Step, ...]
    delegated: float
    delegated_ops: int
    subgraphs: int
    fallbacks: tuple[Fallback, ...]

    @property
    def refused_fallbacks(self) -> tuple[Fallback, ...]:
        """Operators left outside that the recipe does not allow."""
        return tuple(f for f in self.fallbacks if not f.allowed)


@dataclass(frozen=True)
class TargetFacts:
    """One target: the verdict and what it rests on."""

    name: str
    backend: str
    needs: str
    state: State
    verdict: str
    components: tuple[ComponentFacts, ...]

    @property
    def mib(self) -> float:
        """Size of the target's artifacts in MiB."""
        return sum(c.mib for c in self.components)


_DONE: Final = frozenset({State.PASSED, State.NOT_NEEDED})


def target_facts(manifest: Manifest) -> tuple[TargetFacts, ...]:
    """Judge every target of a bundle by what its manifest records."""
    found = []
    for name, target in manifest.targets.items():
        components = tuple(
            _component(entry.spec.name, entry.artifacts[name], manifest) for entry in manifest.components
        )
        state, verdict = _judged(components)
        needs = ", ".join(x for x in (target.soc, target.minimum_os) if x) or "no minimum"
        found.append(TargetFacts(name, target.backend.value, needs, state, verdict, components))
    return tuple(found)


def _component(component: str, artifact: Artifact, manifest: Manifest) -> ComponentFacts:
    recorded = {rung.rung: rung for rung in artifact.rungs}
    return ComponentFacts(
        component=component,
        precision=artifact.precision.value,
        mib=manifest.artifact_bytes(artifact) / (1 << 20),
        ladder=tuple(_step(number, recorded.get(number), artifact.precision) for number in RUNGS),
        delegated=artifact.coverage.share,
        delegated_ops=artifact.coverage.delegated_ops,
        subgraphs=artifact.coverage.subgraphs,
        fallbacks=artifact.coverage.fallbacks,
    )


def _step(number: int, rung: Rung | None, precision: Precision) -> Step:
    if rung is None:
        return Step(number, State.NOT_RUN, "", "", "not recorded")
    state = {True: State.PASSED, False: State.FAILED, None: State.NOT_RUN}[rung.passed]
    if number == 1 and rung.passed is None and not precision.quantized:
        state = State.NOT_NEEDED
    figures = ", ".join(map(str, rung.figures))
    shown = ", ".join(f"ΔE {f.value:.2f}" for f in rung.figures if f.metric is Metric.DELTA_E_MEAN)
    how = f"{rung.how}: {figures}" if figures else rung.how
    return Step(
        number,
        state,
        _worst(rung.fidelity) or shown,
        rung.gate_text,
        how,
    )


def _worst(fidelity: tuple[Fidelity, ...]) -> str:
    ratios = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    return f"{min(ratios):.1f} dB" if ratios else "identical" if fidelity else ""


def _judged(components: tuple[ComponentFacts, ...]) -> tuple[State, str]:
    if faults := list(_faults(components)):
        return State.FAILED, "Must not ship: " + "; ".join(faults) + "."
    ladders = [component.ladder for component in components]
    passed = [n for n in RUNGS if all(ladder[n].state in _DONE for ladder in ladders)]
    open_rungs = [n for n in RUNGS if n not in passed]
    if not open_rungs:
        return State.PASSED, "Every rung of the ladder passed, and no operator fell back without leave."
    missing = ", ".join(f"{n} ({RUNGS[n]})" for n in open_rungs)
    # Nothing was there to run on a rung that no component needs.
    proved = ", ".join(
        f"{n} ({RUNGS[n]})" for n in passed if any(ladder[n].state is State.PASSED for ladder in ladders)
    )
    if not proved:
        return State.NOT_RUN, f"Nothing is proved for all components. Not run: rung {missing}."
    return State.PARTLY, f"Proved: rung {proved}. Not run for every component: rung {missing}."


def _faults(components: tuple[ComponentFacts, ...]) -> Iterator[str]:
    for c in components:
        for step in c.ladder:
            if step.state is State.FAILED:
                yield f"{c.component} failed rung {step.rung} ({RUNGS[step.rung]}; {step.gate})"
        for fallback in c.refused_fallbacks:
            yield f"{c.component} runs {fallback.op} outside the accelerated backend without leave"
