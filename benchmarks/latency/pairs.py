"""Whole photos through a latent pair: when the first word and the first picture are there, what each phase takes."""

import importlib
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.benchmarks.common.timing import Skipped, Timing
from pocketcrafter.benchmarks.latency.jobs import ENGINES, Run
from pocketcrafter.benchmarks.latency.results import PairPhase, PairResult
from pocketcrafter.benchmarks.latency.rounds import MOST_REPEATS, Measured, measure_in_turn, write_mirrored
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.latent.pipeline import LatentPipeline
from pocketcrafter.runtime.latent.settings import Latent
from pocketcrafter.runtime.memory import resident_mib
from pocketcrafter.runtime.photo import decode, encode
from pocketcrafter.runtime.progress import NamedProgress
from pocketcrafter.runtime.words import counted

_IMAGE: Final = "image"
_MIB: Final = "MiB after "
"""What the names of memory figures begin with, among those of seconds."""
_PHASES: Final[Mapping[str, PairPhase]] = {
    Latent.VISION: PairPhase.CRITIC,
    Latent.LANGUAGE: PairPhase.CRITIC,
    Latent.BRIDGE: PairPhase.ARTIST,
    Latent.ENCODE: PairPhase.ARTIST,
    Latent.DENOISE: PairPhase.ARTIST,
    Latent.DECODE: PairPhase.ARTIST,
}


@dataclass(frozen=True)
class _Call:
    component: str
    function: str | None
    start: float
    end: float


@dataclass
class _Timed:
    """A network whose calls are timed."""

    session: Session
    component: str
    function: str | None
    source: "_TimedSource"

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """See `pocketcrafter.runtime.backends.base.Session`."""
        start = time.perf_counter()
        outputs = self.session.run(inputs)
        self.source.calls.append(_Call(self.component, self.function, start, time.perf_counter()))
        self.source.memory[_PHASES[self.component]] = resident_mib()[0]
        return outputs


@dataclass
class _TimedSource:
    """The networks of one target, each opened once."""

    bundle: Bundle
    target: str
    threads: int
    calls: list[_Call] = field(default_factory=list)
    memory: dict[PairPhase, float] = field(default_factory=dict)
    _open: dict[tuple[str, str | None], _Timed] = field(default_factory=dict)

    def has(self, component: str) -> bool:
        """See `pocketcrafter.runtime.families.PairSource`."""
        return self.bundle.has(component)

    def session(self, component: str, function: str | None = None) -> Session:
        """See `pocketcrafter.runtime.families.PairSource`."""
        if (component, function) not in self._open:
            session = self.bundle.target_session(component, self.threads, self.target, function)
            self._open[component, function] = _Timed(session, component, function, self)
        return self._open[component, function]


@dataclass(frozen=True)
class PairJob:
    """A photo file, enhanced into another one by a latent pair on one of its bundle's targets."""

    bundle: Path
    target: str
    photo: Path
    result: Path
    megapixels: float
    threads: int

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"photo of {self.megapixels:g} MP on {self.target}, {counted(self.threads, 'thread')}"

    @property
    def in_a_row(self) -> int:
        """One photo."""
        return 1

    def import_engine(self) -> None:
        """Import the target's engine."""
        for module in ENGINES[Bundle.open(self.bundle).manifest.targets[self.target].backend]:
            importlib.import_module(module)

    def open(self) -> Run:
        """Open the bundle; each network is opened by the first run."""
        return _PairRun(_TimedSource(Bundle.open(self.bundle), self.target, self.threads), self)

    def sqnr_db(self, run: Run) -> float | None:
        """Compare nothing: `bench parity` does."""
        del run
        return None


class _PairRun:
    def __init__(self, source: _TimedSource, job: PairJob) -> None:
        self._source, self._job = source, job

    def __call__(self) -> Mapping[str, float]:
        source, job = self._source, self._job
        source.calls.clear()
        start = time.perf_counter()
        photo = decode(job.photo)
        # A pipeline of its own: one that has just seen the photo may remember what it said of it.
        enhanced = LatentPipeline(source, job.threads).enhance(photo)
        done = time.perf_counter()
        encode(enhanced.photo, job.result, threads=job.threads)
        return {**_seconds(source.calls, start, done), **{f"{_MIB}{p}": m for p, m in source.memory.items()}}


def _seconds(calls: Sequence[_Call], start: float, done: float) -> dict[str, float]:
    """Return seconds until something is there, and of each kind of call."""
    of = {name: [call for call in calls if call.component == name] for name in _PHASES}
    prompt = [call for call in of[Latent.LANGUAGE] if call.function is not None]
    words = [call for call in of[Latent.LANGUAGE] if call.function is None]
    made: dict[str, float] = {}
    if prompt:
        made["first word"] = prompt[-1].end - start
    if prompt and words:
        made["each word"] = (words[-1].end - prompt[-1].end) / len(words)
    for name in (Latent.VISION, Latent.ENCODE, Latent.DECODE):
        if of[name]:
            made[name] = sum(call.end - call.start for call in of[name])
    if steps := of[Latent.DENOISE]:
        made["each step"] = (steps[-1].end - steps[0].start) / len(steps)
    if pictures := of[Latent.DECODE]:
        made["first picture"] = pictures[0].end - start
        made["transfer"] = done - pictures[-1].end
    return made


def measure_pair_photos(
    bundle: Bundle,
    targets: Sequence[str],
    sizes_mp: Sequence[float],
    threads: Sequence[int],
    repeats: int,
    folder: Path,
    skipped: list[Skipped],
    progress: NamedProgress,
) -> Iterator[PairResult]:
    """Yield what photos of each size take on each target; parameters as of `measure_photos`.

    Parameters
    ----------
    bundle
        Of the latent family; one without an artist is skipped.
    targets, sizes_mp, threads, repeats, folder, skipped, progress
        As there.
    """
    if not bundle.has(Latent.ENCODE):
        skipped.append(Skipped(what="whole photos", reason="the bundle has a critic alone, which makes no pictures"))
        return
    scenes = {size: _write_scene(bundle, size, folder / f"{size:g}mp.jpg") for size in dict.fromkeys(sizes_mp)}
    for count, (size, scene) in itertools.product(dict.fromkeys(threads), scenes.items()):
        jobs = [
            PairJob(bundle.path, target, scene, scene.with_suffix(f".{number}.jpg"), size, count)
            for number, target in enumerate(targets)
        ]
        for measured in measure_in_turn(jobs, min(repeats, MOST_REPEATS), 1, lambda *_: "", progress):
            if measured.failure:
                skipped.append(Skipped(what=measured.job.name, reason=measured.failure[:2000]))
            else:
                yield _result(measured)


def _write_scene(bundle: Bundle, megapixels: float, path: Path) -> Path:
    """Write a 4:3 JPEG of the picture that is the autoencoder's golden, mirrored over the whole photo."""
    entry = bundle.manifest.entry(Latent.ENCODE)
    image = read_tensors(bundle.file(entry.goldens[0].inputs), entry.spec.inputs)[_IMAGE][0]
    picture = np.rint((image.transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)
    return write_mirrored(picture, megapixels, path)


def _result(measured: Measured[PairJob]) -> PairResult:
    job, opened, figures = measured.job, measured.opened, measured.stages_ms()
    return PairResult(
        target=job.target,
        megapixels=job.megapixels,
        threads=job.threads,
        load_ms=tuple(1e3 * o.load_s for o in opened),
        first_ms=tuple(1e3 * o.first_s for o in opened),
        warm=Timing.of(measured.samples_ms),
        phases_ms={name: value for name, value in figures.items() if not name.startswith(_MIB)},
        memory_mib={
            PairPhase(name.removeprefix(_MIB)): value / 1e3 for name, value in figures.items() if name.startswith(_MIB)
        },
        cpu_ms=measured.cpu_ms,
        base_rss_mib=opened[-1].base_rss_mib,
        peak_rss_mib=measured.peak_rss_mib,
        attempts=measured.attempts,
        noisy=measured.noisy,
    )
