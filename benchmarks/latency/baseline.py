"""A latency run as ratios to eager torch: figures that can be kept in a repository, since they outlast a machine."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from pocketcrafter.benchmarks.common.names import REFERENCE
from pocketcrafter.benchmarks.common.result_files import ShortName, read_result
from pocketcrafter.benchmarks.common.timing import Interval, paired_ratio, spread
from pocketcrafter.benchmarks.latency.results import CaseResult, LatencyReport
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError

BASELINE_FILE: Final = Path(__file__).with_name("baseline.json")
"""The ratios that are kept in the repository."""

_MAX_BYTES: Final = 4 << 20
_Ratio = Annotated[float, Field(gt=0, le=1e6)]


class RelativeCase(Config):
    """One network by one runner, in times of eager torch in the same rounds."""

    runner: ShortName
    component: ComponentName
    precision: Precision
    threads: int = Field(ge=1)
    ratio: _Ratio = Field(description="Median over rounds of this runner's time in eager torch's; below 1 is faster.")
    interval: Interval | None = Field(description="95 %; null for fewer than 6 rounds.")
    spread: float = Field(ge=0, description="(p90 − p10) / median of the rounds' ratios.")
    cpu_ratio: _Ratio = Field(description="The same of mean CPU times.")
    memory_ratio: _Ratio | None = Field(description="The same of peak memory; null where it could not be told.")
    noisy: bool = Field(description="Whether this runner or eager torch was noisy even when repeated.")

    @property
    def key(self) -> tuple[str, str, int]:
        """What two runs have in common."""
        return self.component, self.runner, self.threads

    @classmethod
    def of(cls, case: CaseResult, eager: CaseResult) -> Self:
        """Divide a case by eager torch's of the same network and threads, round by round."""
        ratios = [a / b for a, b in zip(case.warm.samples_ms, eager.warm.samples_ms, strict=True)]
        ratio, ends = paired_ratio(case.warm.samples_ms, eager.warm.samples_ms)
        known = case.peak_rss_mib and eager.peak_rss_mib
        return cls(
            runner=case.runner,
            component=case.component,
            precision=case.precision,
            threads=case.threads,
            ratio=ratio,
            interval=Interval.of(ends),
            spread=spread(ratios),
            cpu_ratio=case.cpu_ms / eager.cpu_ms,
            memory_ratio=case.peak_rss_mib / eager.peak_rss_mib if known else None,
            noisy=case.noisy or eager.noisy,
        )


class Baseline(Config):
    """The ratios of one run, and where they come from."""

    schema_version: Literal[1] = 1
    bundle: ShortName
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    cpu: str = Field(max_length=200)
    usable_cores: int = Field(ge=1)
    tools: dict[str, str]
    started: str = Field(max_length=40, description="UTC, ISO 8601.")
    cases: tuple[RelativeCase, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_case_twice(self) -> Self:
        keys = [case.key for case in self.cases]
        if len(keys) != len(set(keys)):
            raise ValueError("a case stands there twice")
        return self


def baseline_of(report: LatencyReport) -> Baseline:
    """Return a run's ratios to eager torch, without a millisecond.

    Raises
    ------
    ConfigError
        If nothing was measured beside eager torch.
    """
    eager = {(c.component, c.threads): c for c in report.cases if c.runner == REFERENCE}
    cases = [
        RelativeCase.of(case, beside)
        for case in report.cases
        if case.runner != REFERENCE and (beside := eager.get((case.component, case.threads))) is not None
    ]
    if not cases:
        raise ConfigError(
            f"Nothing was measured beside {REFERENCE}, in whose times a baseline counts. "
            f"Measure it too: pocketcrafter bench latency BUNDLE --competitor {REFERENCE}"
        )
    return Baseline(
        bundle=report.bundle,
        manifest_sha256=report.manifest_sha256,
        cpu=report.machine.cpu,
        usable_cores=report.machine.usable_cores,
        tools=report.machine.tools,
        started=report.started,
        cases=tuple(cases),
    )


def read_baseline(path: Path = BASELINE_FILE) -> Baseline:
    """Read ratios that were kept.

    Raises
    ------
    ConfigError
        If the file is missing, too large or something else; the message lists the faults.
    """
    return read_result(path, Baseline, "baseline", "bench baseline", _MAX_BYTES)
