"""Measures a bundle's networks and photos on every target, with competitors beside them."""

import hashlib
import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from safetensors import safe_open

from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.common.names import CompetitorName
from pocketcrafter.benchmarks.common.network_source import student_weights
from pocketcrafter.benchmarks.common.timing import Interval, Skipped, Timing, paired_ratio
from pocketcrafter.benchmarks.latency.child import Opened
from pocketcrafter.benchmarks.latency.competitors import COMPETITORS, Contest
from pocketcrafter.benchmarks.latency.jobs import ENGINES, NetworkJob
from pocketcrafter.benchmarks.latency.pairs import measure_pair_photos
from pocketcrafter.benchmarks.latency.results import (
    NOISE_LIMIT,
    CaseResult,
    LatencyReport,
    PairResult,
    PhotoResult,
    Ratio,
    SustainedCurve,
    TargetSize,
)
from pocketcrafter.benchmarks.latency.rounds import Measured, measure_in_turn, measure_photos, sustained_curves
from pocketcrafter.export.content import FolderFiles
from pocketcrafter.export.families.family import network_source
from pocketcrafter.export.families.registry import family_of
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.bundle.gates import Figure, Gate, Metric, judge
from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import BackendError, ConfigError, PocketCrafterError
from pocketcrafter.runtime.families import is_stepwise
from pocketcrafter.runtime.progress import NamedProgress
from pocketcrafter.runtime.words import counted

_FLOAT_BYTES = 4


def target_sizes(bundle: Bundle, folder: Path | None = None) -> Iterator[TargetSize]:
    """Yield the size of every target's artifacts and that of the same networks' weights in float32.

    Parameters
    ----------
    bundle
        The bundle.
    folder
        Of the full-precision weights; those that are installed when `None`.

    Raises
    ------
    BackendError
        If the weights are not installed, or are not those that the bundle was built from.
    """
    entries = bundle.manifest.components
    weights = 0
    for file in {file for entry in entries for file in _stored(bundle, student_weights(bundle, entry, folder))}:
        with safe_open(file, "np") as stored:
            weights += sum(_FLOAT_BYTES * math.prod(stored.get_slice(key).get_shape()) for key in stored.keys())  # noqa: SIM118
    for target in bundle.manifest.targets:
        yield TargetSize(
            target=target,
            artifact_bytes=sum(bundle.manifest.artifact_bytes(entry.artifacts[target]) for entry in entries),
            float32_bytes=weights,
        )


def _stored(bundle: Bundle, weights: Path) -> Iterator[Path]:
    """Yield the files of weights, which may be a checkpoint's folder."""
    content = network_source(family_of(bundle.manifest.family).networks).content(weights)
    files = content.files if isinstance(content, FolderFiles) else (content,)
    yield from (file for file in files if file.suffix == ".safetensors")


@dataclass(frozen=True)
class LatencyOptions:
    """What to measure.

    Attributes
    ----------
    targets, components
        By name; empty stands for all that the bundle has.
    threads
        Thread counts, each measured by itself.
    competitors
        What to run beside the targets.
    repeats, loads
        As in :func:`~pocketcrafter.benchmarks.latency.rounds.measure_in_turn`.
    sustained_s
        Seconds to run each target's networks without a pause afterwards; 0 for not at all.
    photos_mp
        Sizes in megapixels of whole photos to enhance too, on each target, with restoration off and on.
    weights
        Folder of the full-precision weights that competitors run; those that are installed when `None`.
    """

    targets: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    threads: tuple[int, ...] = (1,)
    competitors: tuple[CompetitorName, ...] = tuple(CompetitorName)
    repeats: int = 30
    loads: int = 3
    sustained_s: float = 0.0
    photos_mp: tuple[float, ...] = ()
    weights: Path | None = None


def measure_latency(path: Path, options: LatencyOptions, progress: NamedProgress = lambda *_: None) -> LatencyReport:
    """Measure a bundle on this machine.

    Parameters
    ----------
    path
        A bundle directory or a zip of one.
    options
        What to measure.
    progress
        Called with what is being measured, rounds done and rounds in all.

    Raises
    ------
    BundleError
        If it is not a bundle, or lacks a component that was asked for.
    ConfigError
        If it lacks a target that was asked for, or this process may not use as many cores as threads were asked for.
    BackendError
        If nothing could be measured, with every reason.
    """
    bundle = Bundle.open(path)
    machine, started = this_machine(), datetime.now(UTC).isoformat(timespec="seconds")
    if max(options.threads) > machine.usable_cores:
        raise ConfigError(
            f"{counted(max(options.threads), 'thread')} on {machine.usable_cores} usable cores would measure how "
            "they wait for each other; ask for fewer with --threads."
        )
    cases: list[CaseResult] = []
    skipped: list[Skipped] = []
    curves: list[SustainedCurve] = []
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-bench-") as folder:
        targets = list(_runnable(bundle, options, skipped))
        sizes = _sizes(bundle, options.weights, skipped)
        jobs = list(_network_jobs(bundle, targets, options, Path(folder), skipped))
        for _, group in itertools.groupby(jobs, key=lambda job: (job.component, job.threads)):
            measured = measure_in_turn(list(group), options.repeats, options.loads, _wrong_answer, progress)
            skipped += [Skipped(what=m.job.name, reason=m.failure[:2000]) for m in measured if m.failure]
            cases += [_case(m) for m in measured if not m.failure]
        photos, pairs = list[PhotoResult](), list[PairResult]()
        if options.photos_mp:
            asked = (options.photos_mp, options.threads, options.repeats, Path(folder), skipped, progress)
            if is_stepwise(bundle.manifest.family):
                pairs += measure_pair_photos(bundle, targets, *asked)
            else:
                photos += measure_photos(bundle, targets, *asked)
        if options.sustained_s:
            failed = {s.what for s in skipped}
            steady = [job for job in jobs if job.ours and job.name not in failed]
            curves += sustained_curves(steady, options.sustained_s, skipped, progress)
    if not cases and not photos and not pairs:
        reasons = "".join(f"\n  {s.what}: {s.reason}" for s in skipped)
        raise BackendError(f"{path}: nothing could be measured here:{reasons}")
    return LatencyReport(
        schema_version=4,
        bundle=bundle.manifest.name,
        manifest_sha256=hashlib.sha256(read_manifest_bytes(bundle.root)).hexdigest(),
        machine=machine,
        started=started,
        repeats=options.repeats,
        noise_limit=NOISE_LIMIT,
        sizes=sizes,
        cases=tuple(cases),
        ratios=tuple(speed_ratios(cases)),
        photos=tuple(photos),
        pairs=tuple(pairs),
        sustained=tuple(curves),
        skipped=tuple(skipped),
    )


def _runnable(bundle: Bundle, options: LatencyOptions, skipped: list[Skipped]) -> Iterator[str]:
    """Yield the targets that compute on this machine, of those that were asked for."""
    has = bundle.manifest.targets
    for target in bundle.chosen_targets(options.targets):
        if has[target].backend not in ENGINES:
            skipped.append(Skipped(what=target, reason=f"{has[target].backend} emulates: its time is no device's"))
        elif reason := why_unusable(has[target].backend):
            skipped.append(Skipped(what=target, reason=reason[:2000]))
        else:
            yield target


def _sizes(bundle: Bundle, weights: Path | None, skipped: list[Skipped]) -> tuple[TargetSize, ...]:
    try:
        return tuple(target_sizes(bundle, weights))
    except BackendError as error:
        skipped.append(Skipped(what="size beside the weights in float32", reason=str(error)[:2000]))
        return ()


def _network_jobs(
    bundle: Bundle, targets: Sequence[str], options: LatencyOptions, folder: Path, skipped: list[Skipped]
) -> Iterator[NetworkJob]:
    for entry in bundle.chosen_components(options.components):
        alone = [_target_job(bundle, entry, target) for target in targets]
        alone += _competing_jobs(bundle, entry, options, folder, skipped) if alone else []
        for threads in dict.fromkeys(options.threads):
            for job in alone:
                yield replace(job, threads=threads)


def _target_job(bundle: Bundle, entry: ComponentEntry, target: str) -> NetworkJob:
    artifact = entry.artifacts[target]
    return NetworkJob(
        runner=target,
        ours=True,
        precision=artifact.precision,
        component=entry.spec.name,
        threads=1,
        backend=bundle.manifest.targets[target].backend,
        artifact=bundle.artifact(entry, target),
        spec=entry.spec,
        family=bundle.manifest.family,
        golden_inputs=bundle.file(entry.goldens[0].inputs),
        golden_outputs=bundle.file(entry.goldens[0].outputs),
        gate=artifact.golden_gate,
    )


def _competing_jobs(
    bundle: Bundle,
    entry: ComponentEntry,
    options: LatencyOptions,
    folder: Path,
    skipped: list[Skipped],
) -> Iterator[NetworkJob]:
    if not options.competitors:
        return
    try:
        weights = {e.spec.name: student_weights(bundle, e, options.weights) for e in bundle.manifest.components}
    except BackendError as error:
        skipped.append(Skipped(what=f"{entry.spec.name} on any competitor", reason=str(error)[:2000]))
        return
    contest = Contest(bundle, entry, weights.pop(entry.spec.name), weights, folder)
    for name in dict.fromkeys(options.competitors):
        try:
            contender = COMPETITORS[name](contest)
        except PocketCrafterError as error:
            skipped.append(Skipped(what=f"{entry.spec.name} on {name}", reason=str(error)[:2000]))
            continue
        yield NetworkJob(
            runner=name.value,
            ours=False,
            precision=contender.precision,
            component=entry.spec.name,
            threads=1,
            backend=contender.backend,
            artifact=contender.artifact,
            spec=entry.spec,
            family=bundle.manifest.family,
            golden_inputs=bundle.file(entry.goldens[0].inputs),
            golden_outputs=bundle.file(entry.goldens[0].outputs),
            gate=_competitors_gate(entry, contender.precision),
        )


def _competitors_gate(entry: ComponentEntry, precision: Precision) -> Gate:
    """Ask full precision for the most that any artifact must reach, and quantized engines for the least."""
    gates = sorted(
        (artifact.golden_gate for artifact in entry.artifacts.values()), key=lambda gate: gate.minimum or 0.0
    )
    return gates[-1] if precision is Precision.FP32 else gates[0]


def _wrong_answer(job: NetworkJob, opened: Opened) -> str:
    verdict = judge([Figure(metric=Metric.SQNR_DB, value=opened.sqnr_db)], job.gate)
    return "" if verdict.passed else f"its answer is wrong, against the golden: {verdict}"


def _case(measured: Measured[NetworkJob]) -> CaseResult:
    job, opened = measured.job, measured.opened
    return CaseResult(
        runner=job.runner,
        ours=job.ours,
        precision=job.precision,
        component=job.component,
        threads=job.threads,
        load_ms=tuple(1e3 * o.load_s for o in opened),
        first_ms=tuple(1e3 * o.first_s for o in opened),
        in_a_row=job.in_a_row,
        warm=Timing.of(measured.samples_ms),
        cpu_ms=measured.cpu_ms,
        base_rss_mib=opened[-1].base_rss_mib,
        peak_rss_mib=measured.peak_rss_mib,
        sqnr_db=opened[-1].sqnr_db,
        attempts=measured.attempts,
        noisy=measured.noisy,
    )


def speed_ratios(cases: Sequence[CaseResult]) -> Iterator[Ratio]:
    """Yield every target's ratio to every competitor of the same network and threads, measured in the same rounds."""
    for ours, other in itertools.product(cases, cases):
        alike = (ours.component, ours.threads) == (other.component, other.threads)
        if ours.ours and not other.ours and alike:
            ratio, ends = paired_ratio(other.warm.samples_ms, ours.warm.samples_ms)
            yield Ratio(
                component=ours.component,
                threads=ours.threads,
                ours=ours.runner,
                competitor=other.runner,
                ratio=ratio,
                interval=Interval.of(ends),
                cpu_ratio=other.cpu_ms / ours.cpu_ms,
            )
