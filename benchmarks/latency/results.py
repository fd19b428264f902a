"""What a latency run writes: closed models with a checked-in schema, whose summaries agree with their samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from pocketcrafter.benchmarks.latency.intervals import median_interval, spread
from pocketcrafter.benchmarks.latency.machine import Machine
from pocketcrafter.benchmarks.result_files import read_result
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config

NOISE_LIMIT: Final = 0.2
"""A run whose (p90 − p10) / median is above this is noisy."""

MAX_RESULT_BYTES: Final = 64 << 20

Milliseconds = Annotated[float, Field(gt=0, le=1e9)]
Samples = Annotated[tuple[Milliseconds, ...], Field(min_length=1, max_length=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=80)]


def in_threads(count: int) -> str:
    """Say a number of threads, as in "2 threads"."""
    return f"{count} thread{'s' * (count > 1)}"


class Interval(Config):
    """A 95 % confidence interval."""

    low: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the interval ends at {self.high}, before it starts at {self.low}")
        return self

    @classmethod
    def of(cls, ends: tuple[float, float] | None) -> Self | None:
        """Wrap what the functions of `intervals` return."""
        return None if ends is None else cls(low=ends[0], high=ends[1])


class Timing(Config):
    """Warm latencies, each one inference, in the order they were taken."""

    samples_ms: Samples
    median_ms: float
    p90_ms: float
    p99_ms: float = Field(description="With fewer than 100 samples this is close to the slowest one.")
    median_interval_ms: Interval | None = Field(description="By order statistics; null for fewer than 6 samples.")
    spread: float = Field(ge=0, description="(p90 − p10) / median.")

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> Self:
        """Summarize samples."""
        return cls(samples_ms=tuple(samples_ms), **cls._summary(samples_ms))

    @staticmethod
    def _summary(samples: Sequence[float]) -> dict[str, object]:
        median, p90, p99 = (float(q) for q in np.quantile(np.asarray(samples, dtype=np.float64), [0.5, 0.9, 0.99]))
        return {
            "median_ms": median,
            "p90_ms": p90,
            "p99_ms": p99,
            "median_interval_ms": Interval.of(median_interval(samples)),
            "spread": spread(samples),
        }

    @model_validator(mode="after")
    def _agrees_with_its_samples(self) -> Self:
        for name, value in self._summary(self.samples_ms).items():
            said = getattr(self, name)
            equal = np.isclose(said, value, rtol=1e-6) if isinstance(value, float) else said == value
            if not equal:
                raise ValueError(f"`{name}` is {said}; its samples give {value}")
        return self


class CaseResult(Config):
    """One network by one runner with one number of threads."""

    runner: Name = Field(description="A target of the bundle, or the name of a competitor.")
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
        return f"{self.component} on {self.runner}, {in_threads(self.threads)}"

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens a second of a language model, the only network that is timed in a row; `None` for other networks."""
        return 1e3 / self.warm.median_ms if self.in_a_row > 1 else None


class PhotoResult(Config):
    """Whole photos through the pipeline on one target, from file to file."""

    target: Name
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


class TargetSize(Config):
    """What a target's networks weigh, beside the weights that they were made from."""

    target: Name
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
    ours: Name
    competitor: Name
    ratio: float = Field(gt=0, description="Median over rounds in which both ran, one after the other.")
    interval: Interval | None
    cpu_ratio: float = Field(gt=0, description="The same of the mean CPU times, which a busy machine stretches less.")


class Skipped(Config):
    """What was not measured, and why."""

    what: str = Field(min_length=1, max_length=200)
    reason: str = Field(max_length=2000)


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

    runner: Name
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
    bundle: Name = Field(description="The name in the bundle's manifest.")
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    machine: Machine
    started: str = Field(max_length=40, description="UTC, ISO 8601.")
    repeats: int = Field(ge=1)
    noise_limit: float = Field(gt=0, description="Spread above which a run is noisy.")
    sizes: tuple[TargetSize, ...] = Field((), description="Empty where the weights are not those of the bundle.")
    cases: tuple[CaseResult, ...]
    ratios: tuple[Ratio, ...] = ()
    photos: tuple[PhotoResult, ...] = ()
    sustained: tuple[SustainedCurve, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def noisy(self) -> int:
        """How many measurements are noisy."""
        return sum(c.noisy for c in self.cases) + sum(p.noisy for p in self.photos)


def read_latency(path: Path) -> LatencyReport:
    """Read a result file.

    Raises
    ------
    ConfigError
        If it is missing, too large or not a result; the message lists the faults.
    """
    return read_result(path, LatencyReport, "latency result", "bench latency --json", MAX_RESULT_BYTES)
