"""What a latency run writes: closed models with a checked-in schema, whose summaries agree with their samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from pocketcrafter.benchmarks.latency.intervals import median_interval, spread
from pocketcrafter.benchmarks.latency.machine import Machine
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import Component
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError

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
    component: Component
    threads: int = Field(ge=1)
    load_ms: Samples = Field(description="Opening the artifact in a new process, one value a process.")
    first_ms: Samples = Field(description="The first inference after that.")
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


class PhotoResult(Config):
    """Whole photos through the pipeline of the default backend, from file to file."""

    target: Name
    megapixels: float = Field(gt=0)
    restoration: bool = Field(description="Whether the plan asked for restoration; everything else always ran.")
    threads: int = Field(ge=1)
    warm: Timing
    stages_ms: Mapping[str, float] = Field(description="Median by stage.")
    cpu_ms: float = Field(ge=0)
    peak_rss_mib: float = Field(ge=0)
    attempts: int = Field(ge=1, le=2)
    noisy: bool


class Ratio(Config):
    """How many times as long a competitor takes as a target of the bundle; above 1 the bundle is faster."""

    component: Component
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
    component: Component
    threads: int = Field(ge=1)
    points: tuple[SustainedPoint, ...] = Field(min_length=1)

    @property
    def kept(self) -> float:
        """Share of the first window's speed that the last one still has."""
        return self.points[0].median_ms / self.points[-1].median_ms


class LatencyReport(Config):
    """Everything that one `pocketcrafter bench latency` measured."""

    schema_version: Literal[1]
    bundle: Name = Field(description="The name in the bundle's manifest.")
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    machine: Machine
    started: str = Field(max_length=40, description="UTC, ISO 8601.")
    repeats: int = Field(ge=1)
    noise_limit: float = Field(gt=0, description="Spread above which a run is noisy.")
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
    try:
        if path.stat().st_size > MAX_RESULT_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_RESULT_BYTES >> 20} MiB; no latency result is.")
        return LatencyReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:10]]
        heading = f"{path}: not what `pocketcrafter bench latency --json` writes:"
        raise ConfigError("\n".join([heading, *faults])) from error
