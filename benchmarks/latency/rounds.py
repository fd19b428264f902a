"""Measures subjects in turn, round by round; whole photos end to end, and sustained load."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np

from pocketcrafter.benchmarks.common.timing import Skipped, Timing, spread
from pocketcrafter.benchmarks.latency.child import Child, Lap, Opened
from pocketcrafter.benchmarks.latency.jobs import Job, NetworkJob, PhotoJob
from pocketcrafter.benchmarks.latency.results import NOISE_LIMIT, PhotoResult, SustainedCurve
from pocketcrafter.runtime.arrays import PixelArray
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.families import POCKET
from pocketcrafter.runtime.photo import Photo, encode
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.progress import NamedProgress

J = TypeVar("J", bound=Job)

_SETTLE_SECONDS: Final = 0.03
"""Threads of the engine that ran before spin for a while before they sleep."""

_WINDOWS: Final = 60
_LEAST_WINDOW_S: Final = 1.0

_TILE: Final = "tile"

MOST_REPEATS: Final = 7
"""Photos take seconds: more would take hours. Six are the fewest that have a 95 % interval."""


@dataclass
class Measured(Generic[J]):
    """What became of one job."""

    job: J
    opened: list[Opened] = field(default_factory=list)
    laps: list[Lap] = field(default_factory=list)
    attempts: int = 0
    peak_rss_mib: float = 0.0
    failure: str = ""

    @property
    def samples_ms(self) -> list[float]:
        """Wall-clock milliseconds of the timed runs, one a round."""
        return [1e3 * lap.wall_s for lap in self.laps]

    @property
    def cpu_ms(self) -> float:
        """Mean CPU milliseconds of a timed run."""
        return 1e3 * sum(lap.cpu_s for lap in self.laps) / len(self.laps)

    def stages_ms(self) -> dict[str, float]:
        """Return the median milliseconds of each stage of the timed runs."""
        return {
            stage: 1e3 * statistics.median(lap.stages_s[stage] for lap in self.laps) for stage in self.laps[0].stages_s
        }

    @property
    def noisy(self) -> bool:
        """Whether the laps are too unlike each other."""
        return spread(self.samples_ms) > NOISE_LIMIT


def measure_in_turn(
    jobs: Sequence[J],
    repeats: int,
    loads: int,
    accept: Callable[[J, Opened], str],
    progress: NamedProgress = lambda *_: None,
) -> list[Measured[J]]:
    """Open every job in processes of its own, then time one run of each in every round, in rotating order.

    Parameters
    ----------
    jobs
        What to compare.
    repeats
        Rounds, ≥ 1. Where any job was noisy, all of them are run for as many again, and those count.
    loads
        Processes to start for each job, one after the other, ≥ 1; the last one stays and is timed.
    accept
        Says what is wrong with a job that was opened, or "" if nothing.
    progress
        Called with a job's name, rounds done and rounds in all.

    Returns
    -------
    list of Measured
        In the order of the jobs; a job that failed has its `failure` and no laps.
    """
    measured = [Measured(job) for job in jobs]
    with ExitStack() as stack:
        children: list[tuple[Measured[J], Child]] = []
        for load in range(loads):
            for one in measured:
                progress(one.job.name, 0, repeats)
                with _blaming(one):
                    _start(one, load == loads - 1, accept, stack, children)
        for attempt in (1, 2):
            for one, _ in children:
                one.laps, one.attempts = [], attempt
            for number in range(repeats):
                turn = number % max(1, len(children))
                for one, child in children[turn:] + children[:turn]:
                    progress(one.job.name, number, repeats)
                    time.sleep(_SETTLE_SECONDS)
                    with _blaming(one):
                        one.laps.append(child.lap())
                children = [pair for pair in children if not pair[0].failure]
            if not any(one.noisy for one, _ in children):
                break
        for one, child in children:
            with _blaming(one):
                one.peak_rss_mib = child.finish()
    return measured


def _start(
    one: Measured[J],
    stays: bool,
    accept: Callable[[J, Opened], str],
    stack: ExitStack,
    children: list[tuple[Measured[J], Child]],
) -> None:
    if one.failure:
        return
    child = Child(one.job)
    one.opened.append(child.opened)
    one.failure = accept(one.job, child.opened)
    if stays and not one.failure:
        children.append((one, stack.enter_context(child)))
    else:
        child.close()


@contextmanager
def _blaming(one: Measured[Any]) -> Iterator[None]:
    """Turn a failure of a job's process into that job's own, so that the others go on."""
    try:
        yield
    except BackendError as error:
        one.failure = str(error)
        one.laps = []


def sustained_curves(
    jobs: Iterable[NetworkJob], seconds: float, skipped: list[Skipped], progress: NamedProgress
) -> Iterator[SustainedCurve]:
    """Run each network in a process of its own for as long, one after the other.

    Parameters
    ----------
    jobs
        Networks.
    seconds
        How long each runs: sixty windows, none shorter than a second.
    skipped
        What fails is added here.
    progress
        Called with what runs, windows done and windows in all.
    """
    for job in jobs:
        try:
            yield _curve(job, seconds, progress)
        except BackendError as error:
            skipped.append(Skipped(what=f"sustained {job.name}", reason=str(error)[:2000]))


def _curve(job: NetworkJob, seconds: float, progress: NamedProgress) -> SustainedCurve:
    window = max(_LEAST_WINDOW_S, seconds / _WINDOWS)
    windows = max(1, round(seconds / window))
    with Child(job) as child:
        points = []
        for point in child.sustain(windows, window):
            points.append(point)
            progress(f"sustained {job.name}", len(points), windows)
        child.finish()
    return SustainedCurve(runner=job.runner, component=job.component, threads=job.threads, points=tuple(points))


def write_scene(bundle: Bundle, megapixels: float, path: Path) -> Path:
    """Write a 4:3 JPEG of the restoration golden's tile, mirrored over the whole picture.

    Parameters
    ----------
    bundle
        Must have a `restore` component.
    megapixels
        Millions of pixels; 12 is 4000×3000.
    path
        Destination, `.jpg`.

    Raises
    ------
    BundleError
        If the bundle has no `restore`, or its golden is damaged.
    """
    entry = bundle.manifest.entry(Pocket.RESTORE)
    tile = read_tensors(bundle.file(entry.goldens[0].inputs), entry.spec.inputs)[_TILE][0]
    picture = np.rint(tile.transpose(1, 2, 0) * 255).astype(np.uint8)
    return write_mirrored(picture, megapixels, path)


def write_mirrored(picture: PixelArray, megapixels: float, path: Path) -> Path:
    """Write a 4:3 JPEG of a picture (H, W, 3) that is mirrored until it covers the whole photo, and return its path.

    Parameters
    ----------
    picture
        sRGB.
    megapixels
        Size of the photo, in millions of pixels.
    path
        The JPEG file.
    """
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    below, right = max(0, height - picture.shape[0]), max(0, width - picture.shape[1])
    mirrored = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="symmetric")[:height, :width]
    encode(Photo(np.ascontiguousarray(mirrored)), path)
    return path


def measure_photos(
    bundle: Bundle,
    targets: Sequence[str],
    sizes_mp: Sequence[float],
    threads: Sequence[int],
    repeats: int,
    folder: Path,
    skipped: list[Skipped],
    progress: NamedProgress,
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
