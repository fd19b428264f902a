"""What a device answered, as tables."""

from collections.abc import Iterator, Sequence

from pocketcrafter.benchmarks.device.results import DeviceReport, DeviceState, FarmReport
from pocketcrafter.benchmarks.quality.tables import NOT_MEASURED, markdown
from pocketcrafter.runtime.bundle.results import Fidelity


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
    said = [
        f"{value:g} {unit}"
        for value, unit in (
            (state.battery_percent, "%"),
            (state.battery_celsius, "°C battery"),
            (state.hottest_celsius, "°C hottest"),
        )
        if value is not None
    ]
    return ", ".join(said) or NOT_MEASURED


def _lowest(fidelity: Sequence[Fidelity]) -> str:
    ratios = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    return f"{min(ratios):.1f} dB" if ratios else "identical"
