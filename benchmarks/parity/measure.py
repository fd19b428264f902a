"""A whole climb of the ladder: every network's goldens and tensors, then whole photos, target by target."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pocketcrafter.benchmarks.frames import MeasuredFrame
from pocketcrafter.benchmarks.latency.machine import this_machine
from pocketcrafter.benchmarks.parity.photos import compare_photos, end_to_end_rung
from pocketcrafter.benchmarks.parity.results import NetworkParity, ParityReport, StudioParity, TargetParity
from pocketcrafter.benchmarks.parity.rungs import network_parity
from pocketcrafter.benchmarks.parity.sources import NetworkSource, student_weights
from pocketcrafter.benchmarks.parity.studio import compare_with_studio
from pocketcrafter.export.families.registry import FAMILIES as BUILDABLE
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.bundle.gates import Gate
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Rung
from pocketcrafter.runtime.families import FAMILIES

Progress = Callable[[str, int, int], None]
_REASON_CHARS = 500


def climb(
    bundle: Bundle,
    targets: Sequence[str],
    photos: Sequence[Path],
    *,
    weights: Path | None = None,
    studio: Mapping[str, Path] | None = None,
    frames: Sequence[MeasuredFrame] = (),
    split: str = "",
    threads: int = 2,
    progress: Progress = lambda *_: None,
) -> ParityReport:
    """Run rungs 1 to 3 of a bundle, and rung 0 where a studio is given.

    Parameters
    ----------
    bundle
        The bundle; nothing is written into it.
    targets
        By name; all of them when empty. Those that cannot run here are in the report with the reason.
    photos
        Whole photos for rung 3; without any it is not run.
    weights
        Folder with the full-precision weights; what the installation ships when not given.
    studio, frames, split
        Rung 0: as in `compare_with_studio`.
    threads
        Threads to compute with.
    progress
        Called with what is being done, how much is done and how much there is.

    Raises
    ------
    ConfigError
        If the bundle lacks a target that was asked for.
    BackendError
        If the full-precision weights are not here, or a network fails.
    """
    manifest = bundle.manifest
    chosen = bundle.chosen_targets(targets)
    student: dict[str, Path] = {}
    # A pair is held against full precision; networks alone only where their checkpoint is named.
    if _has_pipeline(manifest.family) or (weights is not None and manifest.family in BUILDABLE):
        student = {e.spec.name: student_weights(bundle, e, weights) for e in manifest.components}
    reference = NetworkSource(bundle, threads, weights=student)
    networks: list[NetworkParity] = []
    jobs = [(entry, target) for target in chosen for entry in manifest.components]
    for done, (entry, target) in enumerate(jobs):
        progress(f"{entry.spec.name} on {target}", done, len(jobs))
        networks.append(network_parity(bundle, entry, target, student.get(entry.spec.name), threads))
    progress("networks", len(jobs), len(jobs))
    ends = [_target(bundle, reference, target, photos, threads, progress) for target in chosen]
    compared: StudioParity | None = None
    if studio:
        compared = compare_with_studio(reference, studio, frames, split, progress)
    return ParityReport(
        bundle=manifest.name,
        machine=this_machine(),
        threads=threads,
        networks=tuple(networks),
        targets=tuple(ends),
        studio=compared,
    )


def _target(
    bundle: Bundle, reference: NetworkSource, target: str, photos: Sequence[Path], threads: int, progress: Progress
) -> TargetParity:
    gates = bundle.manifest.gates(3, target)
    reason = _why_not_whole(bundle, photos, target)
    if reason:
        return TargetParity(target=target, not_run=reason, rung=_not_run(gates, reason))
    source = NetworkSource(bundle, threads, target=target)

    def told(photo: str, done: int, total: int) -> None:
        progress(f"{photo} on {target}", done, total)

    found = compare_photos(reference, source, photos, told)
    return TargetParity(target=target, photos=tuple(found), rung=end_to_end_rung(found, gates, target))


def _why_not_whole(bundle: Bundle, photos: Sequence[Path], target: str) -> str | None:
    manifest = bundle.manifest
    if not _has_pipeline(manifest.family):
        return f"the family {manifest.family} has no full-precision pipeline that makes pictures of photos"
    if not photos:
        return "no photos were given"
    return why_unusable(manifest.targets[target].backend)


def _has_pipeline(family: str) -> bool:
    known = FAMILIES.get(family)
    return known is not None and known.pipeline is not None and family in BUILDABLE


def _not_run(gates: tuple[Gate, ...], reason: str) -> Rung:
    return Rung(rung=3, passed=None, how=reason[:_REASON_CHARS], gates=gates)
