"""Two latency runs beside each other: how many times as long the later one takes, and what of it is a regression."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

import numpy as np
from pydantic import Field

from pocketcrafter.benchmarks.common.names import REFERENCE
from pocketcrafter.benchmarks.common.timing import Interval, ratio_of_medians
from pocketcrafter.benchmarks.latency.baseline import Baseline, RelativeCase, baseline_of
from pocketcrafter.benchmarks.latency.results import CaseResult, LatencyReport
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.words import counted

LIMIT: Final = 0.05
"""Slower by less than this is never a regression."""
MEMORY_LIMIT: Final = 1.10
"""Peak memory above this many times the earlier one is a regression."""


class Verdict(StrEnum):
    """What a comparison of one case came to."""

    SAME = "same"
    FASTER = "faster"
    SLOWER = "slower"
    MORE_MEMORY = "more memory"

    @property
    def is_regression(self) -> bool:
        """Whether the later run is worse."""
        return self in {Verdict.SLOWER, Verdict.MORE_MEMORY}


class Basis(StrEnum):
    """What the times are counted in."""

    TIME = "time"
    BASELINE = f"times of {REFERENCE} in the same run, the earlier ones as a baseline keeps them"
    REFERENCE = f"times of {REFERENCE} in the same run"


class Comparison(Config):
    """One case in both runs."""

    runner: str
    component: ComponentName
    threads: int
    ratio: float = Field(gt=0, description="Later over earlier median; above 1 is slower.")
    interval: Interval | None
    margin: float = Field(description="The whole interval must be this far from 1 to count.")
    memory_ratio: float = Field(gt=0, description="Later over earlier peak memory.")
    noisy: bool = Field(description="Whether either run was noisy here.")
    verdict: Verdict


class ComparisonReport(Config):
    """All cases that both runs have."""

    basis: Basis
    comparisons: tuple[Comparison, ...]
    only_earlier: tuple[str, ...] = Field(description="Cases of the earlier run that the later one lacks.")

    @property
    def regressions(self) -> tuple[Comparison, ...]:
        """The cases that got worse."""
        return tuple(c for c in self.comparisons if c.verdict.is_regression)


def compare(earlier: LatencyReport, later: LatencyReport, *, relative: bool = False) -> ComparisonReport:
    """Compare two runs.

    A case is slower where the whole 95 % interval of its ratio is above 1 + margin. The margin is 5 %, or half the
    larger spread of the two runs where that is more: the interval knows the spread within a run, and not what changed
    on the machine between the runs, and a restless machine changes more.

    Parameters
    ----------
    earlier, later
        The baseline and what is judged.
    relative
        Count time in that of eager torch in the same run; always so for runs of different machines, as their
        milliseconds cannot be compared.

    Raises
    ------
    ConfigError
        If no case is in both, or a case lacks the reference that it must be compared through.
    """
    relative = relative or _hardware(earlier) != _hardware(later)
    before, after = ({c.key: c for c in report.cases} for report in (earlier, later))
    common = [key for key in before if key in after and not (relative and before[key].runner == REFERENCE)]
    if not common:
        raise ConfigError("The two results have no case in common: measure the same targets, components and threads.")
    pairs = [
        (
            before[key],
            after[key],
            _samples(before[key], before, relative=relative),
            _samples(after[key], after, relative=relative),
        )
        for key in common
    ]
    return ComparisonReport(
        basis=Basis.REFERENCE if relative else Basis.TIME,
        comparisons=tuple(
            _compared(old, new, old_samples, new_samples) for old, new, old_samples, new_samples in pairs
        ),
        only_earlier=tuple(key for key in before if key not in after),
    )


def compare_with_baseline(baseline: Baseline, later: LatencyReport) -> ComparisonReport:
    """Compare a run with ratios that were kept.

    As in :func:`compare`, in times of eager torch. The interval goes from the lowest ratio that both intervals allow to
    the highest: wider than it must be, as a baseline keeps no samples.

    Raises
    ------
    ConfigError
        If no case is in both, or the run lacks eager torch.
    """
    after = {case.key: case for case in baseline_of(later).cases}
    pairs = [(old, after[old.key]) for old in baseline.cases if old.key in after]
    if not pairs:
        raise ConfigError("The baseline has no case of this run: measure the same targets, components and threads.")
    return ComparisonReport(
        basis=Basis.BASELINE,
        comparisons=tuple(_compared_relative(old, new) for old, new in pairs),
        only_earlier=tuple(
            f"{old.component} on {old.runner}, {counted(old.threads, 'thread')}"
            for old in baseline.cases
            if old.key not in after
        ),
    )


def comparison_lines(report: ComparisonReport) -> Iterator[str]:
    """Yield the lines of a plain table, and what follows from it."""
    yield f"later / earlier {report.basis}; above 1 is slower"
    yield f"{'case':<52} {'ratio':>7} {'95 % interval':>17} {'margin':>7} {'memory':>7}  verdict"
    for c in report.comparisons:
        ends = f"{c.interval.low:.3f} – {c.interval.high:.3f}" if c.interval else "too few samples"
        what = f"{c.component} on {c.runner}, {counted(c.threads, 'thread')}"
        noisy = " (noisy: measure again)" if c.noisy else ""
        yield (
            f"{what:<52} {c.ratio:>7.3f} {ends:>17} {c.margin:>7.0%} {c.memory_ratio:>7.2f}  "
            f"{c.verdict.upper() if c.verdict.is_regression else c.verdict}{noisy}"
        )
    for key in report.only_earlier:
        yield f"not in the later run: {key}"


def _hardware(report: LatencyReport) -> tuple[str, int]:
    return report.machine.cpu, report.machine.usable_cores


def _samples(case: CaseResult, cases: Mapping[str, CaseResult], *, relative: bool) -> tuple[float, ...]:
    samples = case.warm.samples_ms
    if not relative:
        return samples
    reference = cases.get(case.model_copy(update={"runner": REFERENCE.value}).key)
    if reference is None:
        raise ConfigError(
            f"{case.key}: runs of different machines are compared through {REFERENCE}, which one of them lacks. "
            f"Measure it too: pocketcrafter bench latency BUNDLE --competitor {REFERENCE}"
        )
    if len(reference.warm.samples_ms) == len(samples):
        return tuple(a / b for a, b in zip(samples, reference.warm.samples_ms, strict=True))
    return tuple(a / reference.warm.median_ms for a in samples)


def _compared(
    old: CaseResult, new: CaseResult, old_samples: tuple[float, ...], new_samples: tuple[float, ...]
) -> Comparison:
    ratio, ends = ratio_of_medians(new_samples, old_samples)
    # A process whose memory cannot be told reports 0.
    memory = new.peak_rss_mib / old.peak_rss_mib if old.peak_rss_mib and new.peak_rss_mib else 1.0
    return _comparison(old, new, ratio, ends, max(old.warm.spread, new.warm.spread), memory)


def _compared_relative(old: RelativeCase, new: RelativeCase) -> Comparison:
    ends = None
    if old.interval and new.interval:
        ends = new.interval.low / old.interval.high, new.interval.high / old.interval.low
    memory = new.memory_ratio / old.memory_ratio if old.memory_ratio and new.memory_ratio else 1.0
    return _comparison(old, new, new.ratio / old.ratio, ends, max(old.spread, new.spread), memory)


def _comparison(
    old: CaseResult | RelativeCase,
    new: CaseResult | RelativeCase,
    ratio: float,
    ends: tuple[float, float] | None,
    spread: float,
    memory: float,
) -> Comparison:
    margin = max(LIMIT, spread / 2)
    return Comparison(
        runner=new.runner,
        component=new.component,
        threads=new.threads,
        ratio=ratio,
        interval=Interval.of(ends),
        margin=float(np.round(margin, 4)),
        memory_ratio=memory,
        noisy=old.noisy or new.noisy,
        verdict=_verdict(ends or (ratio, ratio), margin, memory),
    )


def _verdict(ends: tuple[float, float], margin: float, memory: float) -> Verdict:
    if ends[0] > 1 + margin:
        return Verdict.SLOWER
    if memory > MEMORY_LIMIT:
        return Verdict.MORE_MEMORY
    return Verdict.FASTER if ends[1] < 1 / (1 + margin) else Verdict.SAME
