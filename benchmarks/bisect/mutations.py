"""Plants one fault at a time in an artifact, and asks whether its layer is named first."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.benchmarks.bisect.faults import Fault, Planted
from pocketcrafter.benchmarks.bisect.reference import LayerError, Reference
from pocketcrafter.benchmarks.bisect.results import ranked
from pocketcrafter.benchmarks.bisect.runtimes import PLANTABLE, STAGES, subject_of
from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.common.network_source import student_weights
from pocketcrafter.export.families.registry import student_network
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.components import ComponentName, ComponentSpec
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.progress import NamedProgress

LEAST_NAMED: Final = 0.95
"""Share of the faults whose layer must stand first."""
_SAME_DB: Final = 60.0
"""Outputs that are nearer to each other are the same: a filter of a channel that is zero can be negated."""


class MutationResult(Config):
    """One fault."""

    component: ComponentName
    target: str
    fault: Fault
    planted: tuple[str, ...] = Field(description="The operators that it belongs to.")
    named: str = Field(description="The operator with the largest own error.")
    first: bool = Field(description="Whether that is one of them, or the next that the artifact shows.")


class MutationReport(Config):
    """Every fault that was planted."""

    bundle: str
    seed: int
    faults: tuple[MutationResult, ...]
    refused: int = Field(0, description="Faults that a runtime refused to load; others were planted in their place.")
    silent: int = Field(0, description="Changes that leave every output as it was, and are none; likewise.")

    @property
    def share(self) -> float:
        """Share of the faults whose layer stands first."""
        return sum(fault.first for fault in self.faults) / len(self.faults) if self.faults else 0.0


def mutate(
    bundle: Bundle,
    count: int,
    seed: int,
    weights: Path | None = None,
    stages: Path = STAGES,
    progress: NamedProgress = lambda *_: None,
) -> MutationReport:
    """Plant faults in a bundle's artifacts, round by round.

    Parameters
    ----------
    bundle
        With a target of `PLANTABLE` at least.
    count
        Faults in all.
    seed
        Of the choice of layers.
    weights
        Folder of the full-precision weights; what is installed when `None`.
    stages
        Where `pocketcrafter build` keeps results; looked into for QNN's targets.
    progress
        Called with what is looked at, faults done and faults in all.

    Raises
    ------
    ConfigError
        If no artifact has a layer to change.
    BackendError
        If the weights are not here.
    """
    chosen = random.Random(seed)  # noqa: S311 - which layers, no secret
    subjects = [
        (entry, target)
        for target, row in bundle.manifest.targets.items()
        if row.kind.family in PLANTABLE
        for entry in bundle.manifest.components
    ]
    chosen.shuffle(subjects)
    references: dict[str, Reference] = {}
    results: list[MutationResult] = []
    refused = silent = 0
    each = -(-count // max(len(subjects), 1))
    for entry, target in subjects:
        name = f"{entry.spec.name} on {target}"
        if entry.spec.name not in references:
            path = student_weights(bundle, entry, weights)
            network = student_network(bundle.manifest.family, entry.spec.name, path)
            references[entry.spec.name] = Reference(frozen(network, ()), entry.spec)
        reference = references[entry.spec.name]
        inputs = read_tensors(bundle.file(entry.goldens_of(None)[0].inputs), entry.spec.inputs)
        subject = subject_of(bundle, entry, target, stages)
        if subject.plant is None:
            continue
        planted = list(subject.plant(subject.artifact, entry.spec, reference, inputs))
        before = subject.observe(subject.artifact, entry.spec, inputs, reference)
        enough = len(results) + min(each, count - len(results))
        for one in _spread(planted, chosen):
            if len(results) == enough:
                break
            progress(name, len(results), count)
            try:
                made = one.observe()
            except BackendError:
                refused += 1
                continue
            if reference.alike(before, made, _SAME_DB):
                silent += 1
                continue
            errors = reference.errors(inputs, made, subject.rounding)
            results.append(_result(one, entry.spec, target, reference, errors))
    progress("faults", count, count)
    if not results:
        raise ConfigError(f"{bundle.path}: no target whose layers can be changed; those of {', '.join(PLANTABLE)} can.")
    return MutationReport(bundle=bundle.manifest.name, seed=seed, faults=tuple(results), refused=refused, silent=silent)


def _spread(planted: list[Planted], chosen: random.Random) -> list[Planted]:
    """Order faults at random, those of each kind in turn."""
    chosen.shuffle(planted)
    kinds = [[one for one in planted if one.fault is kind] for kind in Fault]
    rounds = max(map(len, kinds), default=0)
    return [kind[number] for number in range(rounds) for kind in kinds if number < len(kind)]


def _result(
    one: Planted, spec: ComponentSpec, target: str, reference: Reference, errors: Sequence[LayerError]
) -> MutationResult:
    shown = {error.node for error in errors}
    named = ranked(errors)[0].node
    expected = {seen for node in one.nodes for seen in reference.shown_for(node, shown)}
    return MutationResult(
        component=spec.name, target=target, fault=one.fault, planted=one.nodes, named=named, first=named in expected
    )


def mutation_lines(report: MutationReport) -> str:
    """Return the counts by target and fault, and every fault that was not named first."""
    groups = sorted({(fault.target, fault.fault) for fault in report.faults})
    rows = []
    for target, kind in groups:
        own = [fault for fault in report.faults if (fault.target, fault.fault) == (target, kind)]
        rows.append((f"`{target}`", kind.value, f"{len(own)}", f"{sum(fault.first for fault in own)}"))
    lines = [markdown(("target", "fault", "planted", "named first"), rows), ""]
    lines += [
        f"not first: {f.component} on {f.target}, {f.fault} of {', '.join(f.planted)}: {f.named} was named"
        for f in report.faults
        if not f.first
    ]
    others = {"were refused by their runtime": report.refused, "moved no output, and were none": report.silent}
    more = "".join(f"; {count} more {what}" for what, count in others.items() if count)
    whole = f"{report.share:.0%} of {len(report.faults)} faults are named first (seed {report.seed}){more}"
    return "\n".join([*lines, whole])
