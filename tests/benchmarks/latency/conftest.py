"""Latency results made of known samples."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pocketcrafter.benchmarks.common.machine import Machine
from pocketcrafter.benchmarks.common.timing import Timing
from pocketcrafter.benchmarks.latency.results import CaseResult, LatencyReport
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.instruction_set import InstructionSet
from pocketcrafter.runtime.pocket import Pocket


def make_report(samples: dict[str, Sequence[float]], *, cpu: str = "One", peak_rss_mib: float = 100) -> LatencyReport:
    cases = tuple(
        CaseResult(
            runner=runner,
            ours="fp32" not in runner,
            precision=Precision.FP32 if "fp32" in runner else Precision.INT8,
            component=Pocket.RESTORE,
            threads=1,
            load_ms=(30.0,),
            first_ms=(20.0,),
            in_a_row=1,
            warm=(timing := Timing.of(values)),
            cpu_ms=timing.median_ms,
            base_rss_mib=50,
            peak_rss_mib=peak_rss_mib,
            sqnr_db=50,
            attempts=1,
            noisy=timing.spread > 0.2,
        )
        for runner, values in samples.items()
    )
    return LatencyReport(
        schema_version=4,
        bundle="small",
        manifest_sha256="0" * 64,
        machine=Machine(
            cpu=cpu,
            instruction_set=InstructionSet.AVX2,
            cores=2,
            usable_cores=2,
            ram_mib=8192,
            system="Linux",
            tools={"torch": "2"},
            load_before=0.1,
        ),
        started="2026-01-01T00:00:00+00:00",
        repeats=30,
        noise_limit=0.2,
        cases=cases,
    )


def make_samples(seed: int, median: float = 100.0, noise: float = 0.03, n: int = 30) -> list[float]:
    """Latencies as a quiet machine gives them: a floor, and a tail to the slow side."""
    return (median * np.random.default_rng(seed).lognormal(0, noise, n)).tolist()


@pytest.fixture
def report_of() -> Callable[..., LatencyReport]:
    return make_report


@pytest.fixture
def samples_of() -> Callable[..., list[float]]:
    return make_samples
