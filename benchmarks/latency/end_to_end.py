"""Whole photos, from file to file: every target in turn, restoration off and on."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.latency.jobs import PhotoJob
from pocketcrafter.benchmarks.latency.results import PhotoResult, Skipped, Timing
from pocketcrafter.benchmarks.latency.rounds import Measured, Progress, measure_in_turn
from pocketcrafter.benchmarks.latency.scene import write_scene
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.families import POCKET

MOST_REPEATS: Final = 7
"""Photos take seconds: more would take hours. Six are the fewest that have a 95 % interval."""


def measure_photos(
    bundle: Bundle,
    targets: Sequence[str],
    sizes_mp: Sequence[float],
    threads: Sequence[int],
    repeats: int,
    folder: Path,
    skipped: list[Skipped],
    progress: Progress,
) -> Iterator[PhotoResult]:
    """Yield what photos of each size take on each target.

    Parameters
    ----------
    bundle
        Of the pocket family, with a `restore` component whose golden gives the picture; any other is skipped, as a
        fixed plan has no meaning to it.
    targets
        Names of targets that compute on this machine.
    sizes_mp
        Millions of pixels.
    threads
        Thread counts.
    repeats
        Rounds; `MOST_REPEATS` at most. Each has one cold start.
    folder
        For photos and results.
    skipped
        What fails is added here.
    progress
        Called with what is measured, rounds done and rounds in all.

    Raises
    ------
    BundleError
        If the bundle has no `restore`, or its golden is damaged.
    """
    if bundle.manifest.family != POCKET:
        reason = f"they are timed with a fixed plan, which the family {bundle.manifest.family} does not carry out"
        skipped.append(Skipped(what="whole photos", reason=reason))
        return
    scenes = {size: write_scene(bundle, size, folder / f"{size:g}mp.jpg") for size in dict.fromkeys(sizes_mp)}
    for count, (size, scene) in itertools.product(dict.fromkeys(threads), scenes.items()):
        jobs = [
            PhotoJob(
                bundle=bundle.path,
                target=target,
                photo=scene,
                result=scene.with_suffix(f".{number}.{restoration}.jpg"),
                megapixels=size,
                restoration=restoration,
                threads=count,
            )
            for restoration in (False, True)
            for number, target in enumerate(targets)
        ]
        for measured in measure_in_turn(jobs, min(repeats, MOST_REPEATS), 1, lambda *_: "", progress):
            if measured.failure:
                skipped.append(Skipped(what=measured.job.name, reason=measured.failure[:2000]))
            else:
                yield _result(measured)


def _result(measured: Measured[PhotoJob]) -> PhotoResult:
    job, opened = measured.job, measured.opened
    return PhotoResult(
        target=job.target,
        megapixels=job.megapixels,
        restoration=job.restoration,
        threads=job.threads,
        load_ms=tuple(1e3 * o.load_s for o in opened),
        first_ms=tuple(1e3 * o.first_s for o in opened),
        warm=Timing.of(measured.samples_ms),
        stages_ms=measured.stages_ms(),
        cpu_ms=measured.cpu_ms,
        base_rss_mib=opened[-1].base_rss_mib,
        peak_rss_mib=measured.peak_rss_mib,
        attempts=measured.attempts,
        noisy=measured.noisy,
    )
