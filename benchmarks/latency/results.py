"""What a latency run writes: closed models with a checked-in schema, and their Markdown table.

The schema is written by ``python -m pocketcrafter.benchmarks.latency.results``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from pocketcrafter.benchmarks.common.machine import Machine
from pocketcrafter.benchmarks.common.result_files import ShortName, read_result
from pocketcrafter.benchmarks.common.timing import Interval, Milliseconds, Samples, Skipped, Timing
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.words import counted

NOISE_LIMIT: Final = 0.2
"""A run whose (p90 − p10) / median is above this is noisy."""

MAX_RESULT_BYTES: Final = 64 << 20
SCHEMA_FILE: Final = Path(__file__).with_name("latency.schema.json")


class CaseResult(Config):
    """One network by one runner with one number of threads."""

    runner: ShortName = Field(description="A target of the bundle, or the name of a competitor.")
    ours: bool = Field(description="Whether it is a target of the bundle.")
    precision: Precision
    component: ComponentName
    threads: int = Field(ge=1)
    load_ms: Samples = Field(description="Opening the artifact in a new process, one value a process.")
    first_ms: Samples = Field(description="The first inference after that.")
    in_a_row: int = Field(ge=1, description="Inferences without a pause in each timed run; its sample is their mean.")
    warm: Timing
    cpu_ms: float = Field(gt=0, description="Mean CPU time of a warm inference, over all threads.")
    base_rss_mib: float = Field(ge=0, description="Resident memory with the engine imported, before the artifact.")
    peak_rss_mib: float = Field(ge=0, description="Highest resident memory of the process.")
    sqnr_db: float | None = Field(description="Worst output against the golden; null where all are identical.")
    attempts: int = Field(ge=1, le=2, description="2 where the first run was noisy and was repeated.")
    noisy: bool = Field(description="Whether the last attempt was noisy still.")

    @property
    def key(self) -> str:
        """What it is, in words."""
        return f"{self.component} on {self.runner}, {counted(self.threads, 'thread')}"

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens a second of a language model, the only network that is timed in a row; `None` for other networks."""
        return 1e3 / self.warm.median_ms if self.in_a_row > 1 else None


class PhotoResult(Config):
    """Whole photos through the pipeline on one target, from file to file."""

    target: ShortName
    megapixels: float = Field(gt=0)
    restoration: bool = Field(description="Whether the plan asked for restoration; everything else always ran.")
    threads: int = Field(ge=1)
    load_ms: Samples = Field(description="Opening the bundle in a new process; networks open in the first run.")
    first_ms: Samples = Field(description="The first photo after that.")
    warm: Timing
    stages_ms: Mapping[str, float] = Field(description="Median by stage.")
    cpu_ms: float = Field(ge=0, description="Mean CPU time of a photo, over all threads.")
    base_rss_mib: float = Field(ge=0, description="Resident memory with the engine imported, before the bundle.")
    peak_rss_mib: float = Field(ge=0, description="Highest resident memory of the process.")
    attempts: int = Field(ge=1, le=2)
    noisy: bool


class PairPhase(StrEnum):
    """Which half of a latent pair runs."""

    CRITIC = "critic"
    ARTIST = "artist"


class PairResult(Config):
    """Whole photos through a latent pair on one target, from file to file."""

    target: ShortName
    megapixels: float = Field(gt=0)
    threads: int = Field(ge=1)
    load_ms: Samples = Field(description="Opening the bundle in a new process; networks open in the first run.")
    first_ms: Samples = Field(description="The first photo after that.")
    warm: Timing
    phases_ms: Mapping[str, float] = Field(
        description="Medians: until the first word and the first picture are there, of each word and step, of networks."
    )
    memory_mib: Mapping[PairPhase, float] = Field(description="Resident memory when each half had last run.")
    cpu_ms: float = Field(ge=0, description="Mean CPU time of a photo, over all threads.")
    base_rss_mib: float = Field(ge=0, description="Resident memory with the engine imported, before the bundle.")
    peak_rss_mib: float = Field(ge=0, description="Highest resident memory of the process.")
    attempts: int = Field(ge=1, le=2)
    noisy: bool

    @property
    def tokens_per_s(self) -> float | None:
        """Words a second of the answer; `None` where it was one word long."""
        return 1e3 / self.phases_ms["each word"] if "each word" in self.phases_ms else None


class TargetSize(Config):
    """What a target's networks weigh, beside the weights that they were made from."""

    target: ShortName
    artifact_bytes: int = Field(ge=1, description="All of the target's artifacts.")
    float32_bytes: int = Field(ge=1, description="All weights of the same networks, four bytes each.")

    @property
    def ratio(self) -> float:
        """How many times as large as the weights in full precision."""
        return self.artifact_bytes / self.float32_bytes


class Ratio(Config):
    """How many times as long a competitor takes as a target of the bundle; above 1 the bundle is faster."""

    component: ComponentName
    threads: int = Field(ge=1)
    ours: ShortName
    competitor: ShortName
    ratio: float = Field(gt=0, description="Median over rounds in which both ran, one after the other.")
    interval: Interval | None
    cpu_ratio: float = Field(gt=0, description="The same of the mean CPU times, which a busy machine stretches less.")


class SustainedPoint(Config):
    """One window of a sustained run."""

    seconds: float = Field(ge=0, description="End of the window since the start.")
    inferences: int = Field(ge=1)
    median_ms: Milliseconds
    rss_mib: float = Field(ge=0)
    frequency_mhz: float | None = Field(description="Clock of the first core; null where it cannot be read.")
    temperature_celsius: float | None = Field(description="Hottest zone; null where none can be read.")


class SustainedCurve(Config):
    """One network run without a pause."""

    runner: ShortName
    component: ComponentName
    threads: int = Field(ge=1)
    points: tuple[SustainedPoint, ...] = Field(min_length=1)

    @property
    def kept(self) -> float:
        """Share of the first window's speed that the last one still has."""
        return self.points[0].median_ms / self.points[-1].median_ms


class LatencyReport(Config):
    """Everything that one `pocketcrafter bench latency` measured."""

    schema_version: Literal[4]
    bundle: ShortName = Field(description="The name in the bundle's manifest.")
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    machine: Machine
    started: str = Field(max_length=40, description="UTC, ISO 8601.")
    repeats: int = Field(ge=1)
    noise_limit: float = Field(gt=0, description="Spread above which a run is noisy.")
    sizes: tuple[TargetSize, ...] = Field((), description="Empty where the weights are not those of the bundle.")
    cases: tuple[CaseResult, ...]
    ratios: tuple[Ratio, ...] = ()
    photos: tuple[PhotoResult, ...] = ()
    pairs: tuple[PairResult, ...] = Field((), description="Photos of a latent pair, in place of `photos`.")
    sustained: tuple[SustainedCurve, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def noisy(self) -> int:
        """How many measurements are noisy."""
        whole = sum(p.noisy for p in self.photos) + sum(p.noisy for p in self.pairs)
        return whole + sum(c.noisy for c in self.cases)


def read_latency(path: Path) -> LatencyReport:
    """Read a result file.

    Raises
    ------
    ConfigError
        If it is missing, too large or not a result; the message lists the faults.
    """
    return read_result(path, LatencyReport, "latency result", "bench latency --json", MAX_RESULT_BYTES)


def latency_lines(report: LatencyReport) -> Iterator[str]:
    """Yield the lines of a run's tables."""
    yield f"{report.bundle}: {report.machine.label}; load before: {report.machine.load_before:.1f}"
    yield from _table(
        "| network | on | threads | load | first | median (95 %) | p90 | p99 | CPU | peak RSS | spread |",
        [
            f"| {c.component} | {c.runner}{'' if c.ours else ' (competitor)'} | {c.threads} "
            f"| {min(c.load_ms):.1f} ms | {min(c.first_ms):.1f} ms "
            f"| {c.warm.median_ms:.2f} ms{_ends(c.warm.median_interval_ms)} "
            f"| {c.warm.p90_ms:.2f} | {c.warm.p99_ms:.2f} | {c.cpu_ms:.2f} ms "
            f"| {c.peak_rss_mib:.0f} MiB | {c.warm.spread:.0%}{_flag(c)} |"
            for c in report.cases
        ],
    )
    yield from _table(
        "| network | threads | how many times as fast as | ratio (95 %) | of CPU time |",
        [
            f"| {r.component} | {r.threads} | {r.ours} vs {r.competitor} | {r.ratio:.2f}×{_ends(r.interval)} "
            f"| {r.cpu_ratio:.2f}× |"
            for r in report.ratios
        ],
    )
    yield from _table(
        "| photo | on | restoration | threads | load | first | median (95 %) | p90 | p99 | CPU | peak RSS | spread "
        "| stages, ms |",
        [
            f"| {p.megapixels:g} MP | {p.target} | {'on' if p.restoration else 'off'} | {p.threads} "
            f"| {min(p.load_ms) / 1e3:.2f} s | {min(p.first_ms) / 1e3:.2f} s "
            f"| {p.warm.median_ms / 1e3:.2f} s{_ends(p.warm.median_interval_ms, 1e3)} "
            f"| {p.warm.p90_ms / 1e3:.2f} | {p.warm.p99_ms / 1e3:.2f} "
            f"| {p.cpu_ms / 1e3:.2f} s | {p.peak_rss_mib:.0f} MiB "
            f"| {p.warm.spread:.0%}{_flag(p)} | {_stages(p)} |"
            for p in report.photos
        ],
    )
    yield from _table(
        "| photo | on | threads | first word | tokens/s | step | first picture | whole (95 %) | CPU "
        "| memory after critic, artist | peak RSS | spread | phases, ms |",
        [
            f"| {p.megapixels:g} MP | {p.target} | {p.threads} | {_ms(p, 'first word')} "
            f"| {'–' if p.tokens_per_s is None else f'{p.tokens_per_s:.0f}'} | {_ms(p, 'each step')} "
            f"| {_ms(p, 'first picture')} | {p.warm.median_ms:.0f} ms{_ends(p.warm.median_interval_ms)} "
            f"| {p.cpu_ms:.0f} ms | {', '.join(f'{p.memory_mib[phase]:.0f} MiB' for phase in p.memory_mib)} "
            f"| {p.peak_rss_mib:.0f} MiB | {p.warm.spread:.0%}{_flag(p)} "
            f"| {', '.join(f'{name} {ms:.1f}' for name, ms in p.phases_ms.items())} |"
            for p in report.pairs
        ],
    )
    for off, on in restoration_pairs(report):
        cost = (on.warm.median_ms - off.warm.median_ms) / on.megapixels
        where = f"{on.megapixels:g} MP on {on.target}, {counted(on.threads, 'thread')}"
        yield f"restoration at {where}: {cost / 1e3:.2f} s per megapixel"
    for case in report.cases:
        if case.tokens_per_s is not None:
            yield f"{case.key}, {case.precision}: {case.tokens_per_s:.0f} tokens/s"
    for size in report.sizes:
        yield (
            f"size of {size.target}: {size.artifact_bytes / 1e6:.2f} MB, {size.ratio:.2f}× its weights in float32 "
            f"({size.float32_bytes / 1e6:.2f} MB)"
        )
    for curve in report.sustained:
        where = f"{curve.component} on {curve.runner}, {counted(curve.threads, 'thread')}"
        yield f"sustained {where}: keeps {curve.kept:.0%}"
    for skipped in report.skipped:
        yield f"not measured: {skipped.what}: {skipped.reason}"
    if report.noisy:
        yield f"noisy: (p90 − p10) / median was above {report.noise_limit:.0%} twice; measure on an idle machine"


def restoration_pairs(report: LatencyReport) -> Iterator[tuple[PhotoResult, PhotoResult]]:
    """Yield the photo results that differ in restoration only: without, with."""
    for off in report.photos:
        for on in report.photos:
            alike = (off.target, off.megapixels, off.threads) == (on.target, on.megapixels, on.threads)
            if alike and on.restoration and not off.restoration:
                yield off, on


def _table(head: str, rows: Sequence[str]) -> Iterator[str]:
    if rows:
        yield from ("", head, "|---" * (head.count("|") - 1) + "|", *rows)


def _ms(result: PairResult, phase: str) -> str:
    return f"{result.phases_ms[phase]:.1f} ms" if phase in result.phases_ms else "–"


def _flag(result: CaseResult | PhotoResult | PairResult) -> str:
    if result.warm.median_interval_ms is None:
        return f", too few runs ({len(result.warm.samples_ms)}) to tell"
    return " noisy" if result.noisy else ""


def _stages(photo: PhotoResult) -> str:
    return ", ".join(f"{name} {ms:.0f}" for name, ms in photo.stages_ms.items())


def _ends(interval: Interval | None, unit: float = 1.0) -> str:
    return f" ({interval.low / unit:.2f}–{interval.high / unit:.2f})" if interval else ""


def schema_text() -> str:
    """Return the JSON Schema, as it is checked in."""
    schema = LatencyReport.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA_FILE, schema_text())
