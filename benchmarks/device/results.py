"""What a device answered: closed models and their table."""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from pydantic import Field

from pocketcrafter.benchmarks.common.markdown import NOT_MEASURED, markdown
from pocketcrafter.benchmarks.common.result_files import ShortName
from pocketcrafter.benchmarks.common.timing import Milliseconds, Timing
from pocketcrafter.runtime.bundle.results import Fidelity, Precision, Rung
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config

DEVICE_REPORT: Final = "reports/device-{target}.json"
"""Where a device's goldens lie in a bundle."""


class DeviceFacts(Config):
    """Which device it was; nothing that tells one of a kind from another."""

    model: str = Field(max_length=200)
    soc: str = Field(max_length=200)
    system: str = Field(max_length=200)
    machine: str = Field(max_length=64, description="Architecture as the kernel calls it.")


class DeviceState(Config):
    """How warm and how full it was."""

    battery_percent: int | None = Field(description="Null where the device does not tell.")
    battery_celsius: float | None
    hottest_celsius: float | None = Field(description="Hottest thermal zone that may be read.")


class RunnerResult(Config):
    """What the runner wrote."""

    load_ms: Milliseconds
    first_ms: Milliseconds
    samples_ms: tuple[Milliseconds, ...] = Field(max_length=100_000)
    threads: int = Field(ge=1)
    peak_rss_kib: int = Field(ge=0)


class DeviceCase(Config):
    """One network's speed."""

    component: ComponentName
    precision: Precision
    threads: int = Field(ge=1)
    load_ms: Milliseconds
    first_ms: Milliseconds
    warm: Timing
    peak_rss_mib: float = Field(ge=0)
    before: DeviceState
    after: DeviceState


class DeviceGolden(Config):
    """One network's goldens."""

    component: ComponentName
    against_host: tuple[Fidelity, ...] = Field(description="Against the same artifact on this machine.")
    against_golden: tuple[Fidelity, ...] = Field(description="Against the full-precision goldens.")
    rung: Rung = Field(description="Rung 4, as it goes into the manifest.")


class FarmCase(Config):
    """One network on a device of a farm; the farm's own figures."""

    component: ComponentName
    precision: Precision
    job: str = Field(max_length=400, description="Address of the job's page.")
    load_ms: Milliseconds = Field(description="First load.")
    warm: Timing
    peak_rss_mib: float | None = Field(ge=0, description="Null where the farm does not tell.")
    layers_by_unit: dict[str, int] = Field(description="How many layers ran on NPU, GPU and CPU.")
    against_golden: tuple[Fidelity, ...] = Field(description="Against the full-precision golden.")


class FarmReport(Config):
    """Everything that one `pocketcrafter device farm` found; it proves no rung, which takes every golden."""

    schema_version: Literal[1] = 1
    bundle: ShortName
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    target: ShortName
    device: str = Field(min_length=1, max_length=200, description="As the farm calls it.")
    cases: tuple[FarmCase, ...]


class DeviceReport(Config):
    """Everything that one `pocketcrafter device bench` or `goldens` found."""

    schema_version: Literal[1] = 1
    bundle: ShortName
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    target: ShortName
    device: DeviceFacts
    started: str = Field(max_length=40, description="UTC, ISO 8601.")
    goldens: tuple[DeviceGolden, ...] = ()
    cases: tuple[DeviceCase, ...] = ()

    @property
    def failures(self) -> list[str]:
        """Components that failed rung 4."""
        return [g.component for g in self.goldens if not g.rung.passed]


def device_lines(report: DeviceReport) -> Iterator[str]:
    """Yield the lines of a report."""
    d = report.device
    yield f"{report.bundle}, {report.target} on {d.model or 'a device'} ({d.soc or d.machine}, {d.system})"
    if report.goldens:
        yield ""
        yield markdown(
            ("network", "rung 4", "against the host", "against the goldens"),
            [
                (
                    g.component,
                    "passed" if g.rung.passed else "FAILED",
                    _lowest(g.against_host),
                    _lowest(g.against_golden),
                )
                for g in report.goldens
            ],
        )
    if report.cases:
        yield ""
        yield markdown(
            ("network", "threads", "load", "first", "median (95 %)", "p90", "peak RSS", "spread", "before", "after"),
            [
                (
                    c.component,
                    str(c.threads),
                    f"{c.load_ms:.1f} ms",
                    f"{c.first_ms:.1f} ms",
                    f"{c.warm.median_ms:.2f} ms"
                    + (f" ({i.low:.2f}–{i.high:.2f})" if (i := c.warm.median_interval_ms) else ""),
                    f"{c.warm.p90_ms:.2f} ms",
                    f"{c.peak_rss_mib:.0f} MiB",
                    f"{c.warm.spread:.0%}",
                    _state(c.before),
                    _state(c.after),
                )
                for c in report.cases
            ],
        )


def farm_lines(report: FarmReport) -> Iterator[str]:
    """Yield the lines of a farm's report."""
    yield f"{report.bundle}, {report.target} on {report.device}, by the farm's own figures"
    yield ""
    yield markdown(
        ("network", "load", "median", "p90", "peak memory", "layers", "against the golden", "job"),
        [
            (
                c.component,
                f"{c.load_ms:.1f} ms",
                f"{c.warm.median_ms:.2f} ms",
                f"{c.warm.p90_ms:.2f} ms",
                NOT_MEASURED if c.peak_rss_mib is None else f"{c.peak_rss_mib:.0f} MiB",
                ", ".join(f"{count} {unit}" for unit, count in sorted(c.layers_by_unit.items())) or NOT_MEASURED,
                _lowest(c.against_golden),
                c.job,
            )
            for c in report.cases
        ],
    )


def _state(state: DeviceState) -> str:
    figures = [
        f"{value:g} {unit}"
        for value, unit in (
            (state.battery_percent, "%"),
            (state.battery_celsius, "°C battery"),
            (state.hottest_celsius, "°C hottest"),
        )
        if value is not None
    ]
    return ", ".join(figures) or NOT_MEASURED


def _lowest(fidelity: Sequence[Fidelity]) -> str:
    if not fidelity:
        return NOT_MEASURED
    ratios = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    return f"{min(ratios):.1f} dB" if ratios else "identical"
