"""Results of the numeric ladder: closed models, their Markdown table, and how they are stored in the bundle."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from pocketcrafter.benchmarks.common.machine import Machine
from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.export.builder.parity_report import parity_report
from pocketcrafter.runtime.bundle.gates import Figure, Gate, Metric, judge
from pocketcrafter.runtime.bundle.goldens import GOLDENS_ARE_ROUNDED
from pocketcrafter.runtime.bundle.manifest import Artifact, ComponentEntry, Manifest
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity, Precision, Rung, figures_of
from pocketcrafter.runtime.bundle.writer import amend
from pocketcrafter.runtime.components import ComponentName, FunctionName
from pocketcrafter.runtime.config import Config

PARITY_REPORT: Final = "reports/parity.json"
"""Where the whole result lies in a bundle."""

_STATE = {True: "passed", False: "FAILED", None: "not run"}
_HEAD = ("network", "on", "precision", "0 studio", "1 fake-quantized", "2 host", "goldens here", "3 photos", "4 device")

PARITY_TEXT: Final = "reports/parity.md"

Rungs = Mapping[tuple[str, str], tuple[Rung, ...]]
"""New rungs by component and target."""


class NetworkParity(Config):
    """One component on one target."""

    component: ComponentName
    target: str
    precision: Precision
    recorded: tuple[Rung, ...] = Field(description="Rungs 1 and 2 as the build measured them.")
    again: tuple[Rung, ...] = Field((), description="Those of them that could be run again here, on the goldens.")
    goldens: tuple[Fidelity, ...] = Field((), description="The artifact here against the full-precision goldens.")
    golden_gate: Gate
    not_run: str = Field("", description="Why nothing of it runs here; empty where it does.")

    @property
    def goldens_passed(self) -> bool | None:
        """Whether every golden keeps its gate; `None` where none was run."""
        return judge(figures_of(self.goldens), self.golden_gate).passed


class PhotoParity(Config):
    """One photo through a target, against the same photo through the full-precision pipeline."""

    photo: str = Field(max_length=255)
    changed: bool = Field(description="Whether either pipeline changed the photo.")
    restored: bool = Field(description="Whether either plan asked for restoration.")
    delta_e: float = Field(ge=0, description="Mean CIEDE2000 between the two results.")
    plan_error: float | None = Field(
        ge=0, description="Mean error of the gated plan over attributes, in vector units; null where there is no plan."
    )
    tokens_same: int = Field(0, ge=0, description="Greedy choices of the prose that agree.")
    tokens_compared: int = Field(0, ge=0)


class CallParity(Config):
    """One call of a network on the reference's own inputs, against what the reference has."""

    component: ComponentName
    function: FunctionName | None = Field(None, description="A further function, as the one that reads a prompt.")
    step: int | None = Field(None, ge=1, description="Which step; null where the network does not run step by step.")
    sqnr_db: float | None = Field(description="Null where all values are equal.")
    gate: Gate = Field(description="That of the artifact's goldens.")
    passed: bool

    def __str__(self) -> str:
        function = f".{self.function}" if self.function else ""
        step = f", step {self.step}" if self.step else ""
        ratio = Figure(metric=Metric.SQNR_DB, value=self.sqnr_db)
        return f"{self.component}{function}{step}: {ratio}, the gate is {self.gate}"


class ReferencePhoto(Config):
    """One photo of a reference record through a target."""

    photo: str = Field(max_length=255)
    prompt_equal: bool = Field(description="Whether the bundle's prompt has the words of the reference's.")
    calls: tuple[CallParity, ...] = Field(description="In the order in which they ran.")
    layer: str | None = Field(None, description="Where the first call that missed its gate departs, if layers show.")
    hidden_sqnr_db: float | None = Field(description="Of all hidden states, given the same words; null where equal.")
    tokens_same: int = Field(0, ge=0, description="Greedy choices that agree, given the same words before each.")
    tokens_compared: int = Field(0, ge=0)
    psnr_db: float | None = Field(None, description="Of the artist's picture in the bundle's own run; 200 where equal.")
    ssim: float | None = None
    delta_e: float | None = Field(None, ge=0, description="Mean CIEDE2000 of the same.")

    @property
    def first(self) -> str:
        """Where the bundle departs from its pair; empty where nowhere."""
        if not self.prompt_equal:
            return "the prompt has other words"
        missed = next((call for call in self.calls if not call.passed), None)
        layer = f", first in the layer {self.layer}" if self.layer else ""
        return "" if missed is None else f"{missed}{layer}"


class TargetParity(Config):
    """A target end to end."""

    target: str
    not_run: str = Field("", description="Why it was not run; empty where it was.")
    photos: tuple[PhotoParity, ...] = ()
    reference: tuple[ReferencePhoto, ...] = Field((), description="Against a reference record, in place of photos.")
    rung: Rung = Field(description="Rung 3, as it goes into the manifest.")


class StudioParity(Config):
    """Rung 0: the student's pipeline beside the studio's, both in full precision, on frames with known truth."""

    studio: dict[str, str] = Field(description="SHA-256 of each studio network that took a student's place.")
    frames: int = Field(ge=1)
    split: str
    student: tuple[Figure, ...]
    studio_figures: tuple[Figure, ...]
    rung: Rung = Field(description="Rung 0 of the components that have a studio, as it goes into the manifest.")


class ParityReport(Config):
    """Everything that one `pocketcrafter bench parity` found."""

    schema_version: Literal[1] = 1
    bundle: str
    machine: Machine
    threads: int = Field(ge=1)
    networks: tuple[NetworkParity, ...]
    targets: tuple[TargetParity, ...]
    studio: StudioParity | None = None

    @property
    def failures(self) -> list[str]:
        """Every gate that was missed, in words."""
        found = []
        for network in self.networks:
            name = f"{network.component} on {network.target}"
            found += [f"{name}: rung {r.rung} ({r.gate_text})" for r in network.again if r.passed is False]
            if network.goldens_passed is False:
                found.append(f"{name}: goldens ({network.golden_gate})")
        rungs = [(t.target, t.rung) for t in self.targets] + ([("student", self.studio.rung)] if self.studio else [])
        for name, rung in rungs:
            if rung.passed is False:
                missed = "; ".join(str(verdict) for verdict in rung.verdicts if verdict.passed is False)
                found.append(f"{name}: rung {rung.rung}: {missed}")
        return found


def parity_lines(report: ParityReport, manifest: Manifest) -> Iterator[str]:
    """Yield the lines of a report.

    Parameters
    ----------
    report
        What was run.
    manifest
        The bundle's, from before or after the results were stored: rungs that were not run now are shown as it has
        them.
    """
    yield f"{report.bundle} on {report.machine.label}"
    yield ""
    yield markdown(_HEAD, [_row(network, report, manifest) for network in report.networks])
    yield ""
    again = "; in brackets what they came to on the goldens here" if any(n.again for n in report.networks) else ""
    yield f"Rungs 1 and 2 as the build measured them{again}. {GOLDENS_ARE_ROUNDED}"
    for target in report.targets:
        yield f"{target.target}: rung 3 {_STATE[target.rung.passed]}: " + (
            target.not_run or f"{_figures(target.rung)}; {target.rung.how}"
        )
        yield from (f"{target.target} departs on {p.photo}: {p.first}" for p in target.reference if p.first)
    if studio := report.studio:
        yield f"student: {', '.join(map(str, studio.student))}"
        yield f"studio: {', '.join(map(str, studio.studio_figures))}"
        yield f"rung 0 {_STATE[studio.rung.passed]}: {_figures(studio.rung)}; {studio.rung.how}"
    for network in report.networks:
        if network.not_run:
            yield f"not run: {network.component} on {network.target}: {network.not_run}"
    yield from (f"FAILED: {failure}" for failure in report.failures)


def _row(network: NetworkParity, report: ParityReport, manifest: Manifest) -> tuple[str, ...]:
    stored = {r.rung: r for r in manifest.entry(network.component).artifacts[network.target].rungs}
    again = {r.rung: r for r in network.again}
    ends = {t.target: t.rung for t in report.targets}
    if report.studio and network.component in report.studio.studio:
        stored[0] = report.studio.rung
    if ends[network.target].passed is not None:
        stored[3] = ends[network.target]
    return (
        network.component,
        network.target,
        network.precision.value,
        _cell(stored.get(0)),
        _cell(stored.get(1), again.get(1)) if network.precision.quantized else "not quantized",
        _cell(stored.get(2), again.get(2)),
        _lowest(network.goldens) or "not run",
        _cell(stored.get(3)),
        _cell(stored.get(4)),
    )


def _cell(rung: Rung | None, again: Rung | None = None) -> str:
    if rung is None or rung.passed is None:
        return "not run"
    shown = _lowest(rung.fidelity) or ", ".join(map(str, rung.figures[:1]))
    state = "" if rung.passed else "FAILED "
    return f"{state}{shown or 'passed'}" + (f" ({_lowest(again.fidelity)})" if again else "")


def _figures(rung: Rung) -> str:
    return ", ".join(map(str, rung.figures))


def _lowest(fidelity: Sequence[Fidelity]) -> str:
    ratios = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    return f"{min(ratios):.1f} dB" if ratios else "identical" if fidelity else ""


def store(path: Path, report: ParityReport) -> Manifest:
    """Write a report into the bundle that it is about; returns the new manifest.

    Raises
    ------
    BundleError
        If the bundle is damaged or cannot be written; it is left as it was.
    """
    rungs: dict[tuple[str, str], tuple[Rung, ...]] = {}
    ran = {t.target: t.rung for t in report.targets if not t.not_run}
    for network in report.networks:
        found = [ran[network.target]] if network.target in ran else []
        if report.studio and network.component in report.studio.studio:
            found.append(report.studio.rung)
        rungs[network.component, network.target] = tuple(found)
    return store_rungs(path, rungs, {PARITY_REPORT: report.model_dump_json(indent=1).encode()})


def store_rungs(path: Path, rungs: Rungs, reports: Mapping[str, bytes]) -> Manifest:
    """Write rungs into a bundle's manifest in place of those of the same number, and reports beside it.

    Parameters
    ----------
    path
        The bundle.
    rungs
        New rungs by component and target.
    reports
        Files to write too, by path in the bundle.

    Raises
    ------
    BundleError
        As in `store`.
    """

    def change(manifest: Manifest) -> Manifest:
        return manifest.model_copy(update={"components": with_rungs(manifest, rungs)})

    components = with_rungs(Bundle.open(path).manifest, rungs)
    text = parity_report(Bundle.open(path).manifest.name, components).encode()
    return amend(path, change, {PARITY_TEXT: text, **reports})


def with_rungs(manifest: Manifest, rungs: Rungs) -> tuple[ComponentEntry, ...]:
    """Return a manifest's components with rungs put in the place of those of the same number."""
    return tuple(
        entry.model_copy(
            update={
                "artifacts": {
                    target: _replaced(artifact, rungs.get((entry.spec.name, target), ()))
                    for target, artifact in entry.artifacts.items()
                }
            }
        )
        for entry in manifest.components
    )


def _replaced(artifact: Artifact, rungs: tuple[Rung, ...]) -> Artifact:
    ladder = {rung.rung: rung for rung in (*artifact.rungs, *rungs)}
    return artifact.model_copy(update={"rungs": tuple(ladder[number] for number in sorted(ladder))})
