"""A latency run as Markdown, with the machine that it holds for."""

from collections.abc import Iterator, Sequence

from pocketcrafter.benchmarks.latency.results import CaseResult, Interval, LatencyReport, PhotoResult, in_threads


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
    for off, on in restoration_pairs(report):
        cost = (on.warm.median_ms - off.warm.median_ms) / on.megapixels
        where = f"{on.megapixels:g} MP on {on.target}, {in_threads(on.threads)}"
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
        yield f"sustained {curve.component} on {curve.runner}, {in_threads(curve.threads)}: keeps {curve.kept:.0%}"
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


def _flag(result: CaseResult | PhotoResult) -> str:
    if result.warm.median_interval_ms is None:
        return f", too few runs ({len(result.warm.samples_ms)}) to tell"
    return " noisy" if result.noisy else ""


def _stages(photo: PhotoResult) -> str:
    return ", ".join(f"{name} {ms:.0f}" for name, ms in photo.stages_ms.items())


def _ends(interval: Interval | None, unit: float = 1.0) -> str:
    return f" ({interval.low / unit:.2f}–{interval.high / unit:.2f})" if interval else ""
