"""Networks run without a pause: what is left of their speed when the machine is warm."""

from collections.abc import Iterable, Iterator
from typing import Final

from pocketcrafter.benchmarks.latency.child import Child
from pocketcrafter.benchmarks.latency.jobs import NetworkJob
from pocketcrafter.benchmarks.latency.results import Skipped, SustainedCurve
from pocketcrafter.benchmarks.latency.rounds import Progress
from pocketcrafter.runtime.errors import BackendError

_WINDOWS: Final = 60
_LEAST_WINDOW_S: Final = 1.0


def sustained_curves(
    jobs: Iterable[NetworkJob], seconds: float, skipped: list[Skipped], progress: Progress
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


def _curve(job: NetworkJob, seconds: float, progress: Progress) -> SustainedCurve:
    window = max(_LEAST_WINDOW_S, seconds / _WINDOWS)
    windows = max(1, round(seconds / window))
    with Child(job) as child:
        points = []
        for point in child.sustain(windows, window):
            points.append(point)
            progress(f"sustained {job.name}", len(points), windows)
        child.finish()
    return SustainedCurve(runner=job.runner, component=job.component, threads=job.threads, points=tuple(points))
